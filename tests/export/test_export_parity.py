"""An export that computes something else is found out."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor

from prunus.core.errors import ExportError
from prunus.export.backends import onnx as backend
from prunus.export.parity import box_distance, check_parity, compare
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.runner import TorchRunner


class Answers:
    """A runner that gives prepared candidates, image by image, whatever the pixels."""

    names, stride, size_hw = ("a", "b"), 32, None

    def __init__(self, candidates: Tensor, batch: int | None = None) -> None:
        self.candidates, self.batch, self.calls = candidates, batch, []

    def __call__(self, images: Tensor) -> Tensor:
        self.calls.append(len(images))
        return self.candidates.expand(len(images), -1, -1).clone()


def candidates(*rows: list[float]) -> Tensor:
    return torch.tensor([rows])


IMAGES = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
BOX = [100.0, 100.0, 40.0, 20.0, 0.9, 0.8, 0.1]


@pytest.fixture
def reference(detector: Detector) -> TorchRunner:
    return TorchRunner(fuse(detector), torch.device("cpu"), "fp32")


@pytest.fixture
def images() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=generator)


def test_a_faithful_export_passes_and_boxes_were_compared(
    reference: TorchRunner, onnx_content: bytes, images: Tensor, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_content)
    parity = check_parity(reference, backend.open(path, device="cpu"), images)
    assert parity.images == 2
    assert parity.boxes > 5, "without boxes the test would be empty"
    assert 0 < parity.max_relative < 1e-4
    assert parity.max_box_px < 1e-3


@pytest.mark.parametrize("place", ["model.0.conv.bias", "model.24.m.1.bias", "model.17"])
def test_perturbed_weights_are_found_out(
    place: str, reference: TorchRunner, onnx_content: bytes, images: Tensor, tmp_path: Path
) -> None:
    model = onnx.load_model_from_string(onnx_content)
    tensor = next(entry for entry in model.graph.initializer if place in entry.name)
    values = numpy_helper.to_array(tensor) * np.float32(1.03) + np.float32(0.01)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ExportError, match=r"does not compute what torch does on 2 images: values"):
        check_parity(reference, backend.open(path, device="cpu"), images)


def test_figures_by_hand() -> None:
    moved = [100.5, 100.0, 40.0, 20.0, 0.9, 0.8, 0.3]
    parity = compare(Answers(candidates(BOX)), Answers(candidates(moved)), IMAGES)
    assert parity.max_absolute == pytest.approx(0.5)
    assert parity.max_relative == pytest.approx(0.2), "0.1 to 0.3; 0.5 of 100 is less"
    assert parity.max_box_px == pytest.approx(0.5)
    assert (parity.boxes, parity.images) == (3, 3)
    assert not parity.holds


def test_boxes_rounded_to_either_side_of_a_threshold_are_the_same() -> None:
    """A score of .25, or an overlap of .45, does not make an export wrong."""
    over, under = [*BOX[:4], 0.25001, 1.0, 0.1], [*BOX[:4], 0.24999, 1.0, 0.1]
    for one, other in ((over, under), (under, over)):
        parity = compare(Answers(candidates(one)), Answers(candidates(other)), IMAGES)
        assert parity.max_box_px == 0
        assert parity.holds
    aside = [100.0 + 40 * 0.3794, *BOX[1:]]  # IoU .4499
    further = [100.0 + 40 * 0.3792, *BOX[1:]]  # IoU .4501
    weaker = [*BOX[:4], 0.8, 0.8, 0.1]
    one, other = candidates(aside, weaker), candidates(further, weaker)
    assert compare(Answers(one), Answers(other), IMAGES).max_box_px == pytest.approx(
        0.008, abs=1e-4
    )


@pytest.mark.parametrize("found", [[*BOX[:4], 0.1, 0.8, 0.1], [*BOX[:4], 0.9, 0.1, 0.8]])
def test_a_box_that_the_other_does_not_find_is_infinitely_far(found: list[float]) -> None:
    for one, other in ((BOX, found), (found, BOX)):
        parity = compare(Answers(candidates(one)), Answers(candidates(other)), IMAGES)
        assert parity.max_box_px == float("inf")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_none_fail(bad: float) -> None:
    broken = [*BOX[:5], bad, 0.1]
    with pytest.raises(ExportError, match="values differ by up to inf"):
        check_parity(Answers(candidates(BOX)), Answers(candidates(broken)), IMAGES)


def test_another_number_of_candidates_fails() -> None:
    with pytest.raises(ExportError, match=r"output is \(2, 2, 7\), torch's \(2, 1, 7\)"):
        check_parity(Answers(candidates(BOX)), Answers(candidates(BOX, BOX)), IMAGES)


def test_a_fixed_batch_is_filled_up() -> None:
    exported = Answers(candidates(BOX), batch=2)
    assert check_parity(Answers(candidates(BOX)), exported, IMAGES).images == 3
    assert exported.calls == [2, 2]


def test_a_box_that_only_one_side_has_is_infinitely_far() -> None:
    rows = torch.tensor([[0.0, 0, 10, 10, 0.9, 0], [50, 50, 60, 60, 0.8, 1]])
    assert box_distance(rows, rows.flip(0)) == 0, "order does not count"
    assert box_distance(rows, rows[:1]) == float("inf")
    other_class = rows.clone()
    other_class[0, 5] = 1
    assert box_distance(rows, other_class) == float("inf")
    assert box_distance(rows[:0], rows[:0]) == 0


def test_two_boxes_cannot_share_a_partner() -> None:
    near = torch.tensor([[0.0, 0, 10, 10, 0.9, 0], [0.001, 0, 10, 10, 0.8, 0]])
    far = torch.tensor([[0.0, 0, 10, 10, 0.9, 0], [30.0, 0, 40, 10, 0.8, 0]])
    assert box_distance(near, far) == pytest.approx(30, abs=0.01)
