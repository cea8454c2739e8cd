"""The official YOLOv5n on 128 COCO images: the official figures, to .002 (`anchors.md`)."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from prunus.core.records import Batch
from prunus.data.index import ImageIndex, build_index
from prunus.data.loader import validation_batches
from prunus.data.spec import read_data
from prunus.evaluate.val import Evaluation, evaluate
from prunus.model.fuse import fuse
from prunus.model.runner import TorchRunner
from prunus.weights.files import load_weights

pytestmark = pytest.mark.parity

TOLERANCE = 0.0025
"""Two thousandths, and half a unit of the last digit to which the figures are known."""
TIGHT_TOLERANCE = 0.001
FIGURES = {"precision": 0.605, "recall": 0.465, "map50": 0.509, "map50_95": 0.336}
COCO_FIGURES = {
    "AP": 0.337,
    "AP50": 0.512,
    "AP75": 0.359,
    "APs": 0.189,
    "APm": 0.338,
    "APl": 0.474,
    "AR1": 0.315,
    "AR10": 0.504,
    "AR100": 0.537,
    "ARs": 0.282,
    "ARm": 0.504,
    "ARl": 0.662,
}
BATCH_1_FIGURES = {"precision": 0.631, "recall": 0.446, "map50": 0.504, "map50_95": 0.337}
SQUARE_FIGURES = {"map50": 0.495, "map50_95": 0.333}
"""Square and one by one, as the official code judges every format but its own."""
DETECTIONS = 31_518
BOXES = 898


@pytest.fixture(scope="module")
def runner(assets: Path) -> TorchRunner:
    detector = fuse(load_weights(assets / "weights" / "yolov5n.pt").detector)
    return TorchRunner(detector, torch.device("cpu"), "fp32")


@pytest.fixture(scope="module")
def index(assets: Path) -> ImageIndex:
    return build_index(read_data(assets / "data" / "coco256.yaml"), "val")


@pytest.fixture(scope="module")
def official_settings(runner: TorchRunner, index: ImageIndex) -> Evaluation:
    return evaluate(runner, validation_batches(index, 640, 32, 32), index)


def as_the_reference_unboxes(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Take borders for half as wide as all of the border, and the vertical scale for both axes.

    The reference carries boxes back like this, so up to half a pixel beside where the picture lies.
    """
    for batch in batches:
        frames = []
        for frame in batch.frames:
            picture = np.round(np.multiply(frame.scale_yx, frame.size_hw))
            pad_y, pad_x = (np.array(batch.images.shape[2:]) - picture) / 2
            scale = frame.scale_yx[0]
            frames.append(replace(frame, scale_yx=(scale, scale), pad_yx=(pad_y, pad_x)))
        yield replace(batch, frames=tuple(frames))


@pytest.fixture(scope="module")
def official_unboxing(runner: TorchRunner, index: ImageIndex) -> Evaluation:
    batches = as_the_reference_unboxes(validation_batches(index, 640, 32, 32))
    return evaluate(runner, batches, index)


def test_the_data_set_is_the_one_measured(index: ImageIndex) -> None:
    assert (len(index), len(index.boxes)) == (128, BOXES)


@pytest.mark.parametrize("name", FIGURES)
def test_yolov5s_figures(official_settings: Evaluation, name: str) -> None:
    found = official_settings.metrics()[name]
    assert found == pytest.approx(FIGURES[name], abs=TOLERANCE)


@pytest.mark.parametrize("name", COCO_FIGURES)
def test_cocos_figures(official_settings: Evaluation, name: str) -> None:
    found = official_settings.metrics()["coco"][name]
    assert found == pytest.approx(COCO_FIGURES[name], abs=TOLERANCE)


def test_what_is_left_comes_from_the_half_pixel_borders(official_unboxing: Evaluation) -> None:
    found = official_unboxing.metrics()
    assert {name: found[name] for name in FIGURES} == pytest.approx(FIGURES, abs=TIGHT_TOLERANCE)
    assert found["coco"] == pytest.approx(COCO_FIGURES, abs=TIGHT_TOLERANCE)


def test_number_of_detections(official_settings: Evaluation) -> None:
    found = official_settings.metrics()["detections"]
    assert found == pytest.approx(DETECTIONS, rel=0.01)


def test_figures_of_batches_of_one(runner: TorchRunner, index: ImageIndex) -> None:
    result = evaluate(runner, validation_batches(index, 640, 1, 32), index, coco=False).metrics()
    found = {name: result[name] for name in BATCH_1_FIGURES}
    assert found == pytest.approx(BATCH_1_FIGURES, abs=TOLERANCE)


def test_figures_of_squares(runner: TorchRunner, index: ImageIndex) -> None:
    batches = validation_batches(index, 640, 32, 32, rectangular=False)
    result = evaluate(runner, batches, index, coco=False).metrics()
    found = {name: result[name] for name in SQUARE_FIGURES}
    assert found == pytest.approx(SQUARE_FIGURES, abs=TOLERANCE)
