"""What a training sees, drawn: every image of a batch with its own boxes, in its own place."""

from pathlib import Path

import pytest
import torch

from prunus.core.config import parse
from prunus.core.records import Batch, Frame
from prunus.pipeline.pictures import LARGEST_BATCH, mosaic_of
from prunus.pipeline.train import train
from prunus.predict.draw import colour_of
from prunus.train.config import TrainConfig

SIDE = 96
PICTURES = {"batch0.jpg", "labels.png", "curves.png"}


def batch_of(count: int) -> Batch:
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, SIDE, SIDE)
    targets = torch.tensor([[i, i % 3, 0.5, 0.5, 0.5, 0.25] for i in range(count)])
    frames = tuple(Frame(Path(f"{i}.jpg"), (SIDE, SIDE)) for i in range(count))
    return Batch(images.contiguous(), targets.reshape(-1, 6), frames)


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (5, 3, 2), (20, 4, 4)])
def test_each_image_lies_in_its_place_with_its_box(count: int, columns: int, rows: int) -> None:
    picture = mosaic_of(batch_of(count), ("a", "b", "c"))
    assert picture.shape == (rows * SIDE, columns * SIDE, 3)
    for number in range(min(count, LARGEST_BATCH)):
        top, left = number // columns * SIDE, number % columns * SIDE
        cell = picture[top : top + SIDE, left : left + SIDE]
        assert cell[5, 5].tolist() == [number] * 3
        assert cell[60, 40].tolist() == list(colour_of(number % 3)), "the lower edge of the box"
        assert cell[70, 40].tolist() == [number] * 3, "below the box"
    if count == 5:
        assert (picture[SIDE:, 2 * SIDE :] == 255).all(), "nothing in the last place"


@pytest.mark.integration
@pytest.mark.parametrize("plots", [True, False])
def test_a_training_draws_what_it_sees(orchard: Path, tmp_path: Path, plots: bool) -> None:
    train(
        parse(
            TrainConfig,
            {
                "data": orchard,
                "cfg": "yolov5n",
                "image_size": 64,
                "batch_size": 4,
                "epochs": 1,
                "out": tmp_path / "run",
                "plots": plots,
                "auto_anchor": False,
            },
        )
    )
    found = {path.name for path in (tmp_path / "run").iterdir()}
    assert PICTURES & found == (PICTURES if plots else set())
