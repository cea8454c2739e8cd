"""Composed runners: several as one, three looks at one image, a large batch in pieces."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

from prunus.core.errors import ConfigError
from prunus.core.records import Size
from prunus.evaluate.nms import non_maximum_suppression
from prunus.model import runner as torch_runner
from prunus.model.augmented import LOOKS, AugmentedRunner, level_counts
from prunus.model.build import build_detector
from prunus.model.decode import count_candidates, decode_into
from prunus.model.ensemble import EnsembleRunner
from prunus.model.fuse import fuse
from prunus.model.pieces import run_in_pieces
from prunus.model.runner import TorchRunner
from prunus.model.spec import read_arch

NAMES = ("cat", "dog")
STRIDES = (8, 16, 32)


@dataclass
class Spotter:
    """Finds the one white rectangle of each image, with its extent, on every level."""

    names: tuple[str, ...] = NAMES
    stride: int = 32
    size_hw: Size | None = None
    batch: int | None = None
    shift: float = 0.0
    seen: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(self, images: Tensor) -> Tensor:
        self.seen.append(tuple(images.shape))
        height, width = images.shape[2:]
        counts = [3 * (height // stride) * (width // stride) for stride in STRIDES]
        output = torch.zeros(len(images), sum(counts), 5 + len(self.names))
        for number, image in enumerate(images):
            rows, columns = (image[0] > 184).nonzero(as_tuple=True)
            left, right = columns.min().item(), columns.max().item() + 1
            top, bottom = rows.min().item(), rows.max().item() + 1
            box = [(left + right) / 2 + self.shift, (top + bottom) / 2, right - left, bottom - top]
            for level, start in enumerate(np.cumsum([0, *counts[:-1]])):
                output[number, start, :4] = torch.tensor(box)
                output[number, start, 4] = 1
                output[number, start, 5] = 0.5 + level / 10
        return output


def picture(height: int, width: int, *boxes: tuple[int, int, int, int]) -> Tensor:
    images = torch.full((len(boxes), 3, height, width), 114, dtype=torch.uint8)
    for image, (left, top, right, bottom) in zip(images, boxes, strict=True):
        image[:, top:bottom, left:right] = 255
    return images


BOXES = ((40, 60, 240, 160), (300, 10, 380, 250))


def found_by(candidates: Tensor) -> Tensor:
    """Return (B, n, 5): box corners and score of what was found."""
    kept = candidates[candidates[..., 4] > 0].reshape(len(candidates), -1, 7)
    half = kept[..., 2:4] / 2
    corners = (kept[..., :2] - half, kept[..., :2] + half, kept[..., 5:6])
    return torch.cat(corners, dim=-1)


def test_boxes_of_all_three_looks_land_where_the_thing_is() -> None:
    spotter = Spotter()
    found = found_by(AugmentedRunner(spotter, "x.pt")(picture(256, 416, *BOXES)))
    for of_image, box in zip(found, BOXES, strict=True):
        np.testing.assert_allclose(of_image[:, :4], np.tile(box, (len(of_image), 1)), atol=2)
        assert (of_image[:2, :4] == torch.tensor(box)).all(), "the full-size look is exact"


def test_looks_have_the_scales_rounded_up_to_the_stride() -> None:
    spotter = Spotter()
    AugmentedRunner(spotter, "x.pt")(picture(256, 416, *BOXES))
    # .83: 212 x 345, .67: 171 x 278; then up to multiples of 32
    assert spotter.seen == [(2, 3, 256, 416), (2, 3, 224, 352), (2, 3, 192, 288)]


def test_the_levels_that_a_look_is_bad_at_are_dropped() -> None:
    found = found_by(AugmentedRunner(Spotter(), "x.pt")(picture(256, 416, *BOXES)))
    # fine, middle, coarse score .5, .6, .7: full size without coarse, the last without fine
    np.testing.assert_allclose(found[0, :, 4], [0.5, 0.6, 0.5, 0.6, 0.7, 0.6, 0.7], rtol=1e-6)


def test_only_the_middle_look_is_mirrored() -> None:
    assert [(look.scale, look.mirrored) for look in LOOKS] == [
        (1.0, False),
        (0.83, True),
        (0.67, False),
    ]


@pytest.mark.parametrize(
    ("candidates", "cells", "counts"),
    [
        (25_200, 400, (19_200, 4800, 1200)),  # YOLOv5 at 640
        (102_000, 400, (76_800, 19_200, 4800, 1200)),  # P6 at 1280
        (8400, 400, (6400, 1600, 400)),  # one anchor a cell
        (63 * 6, 6, (288, 72, 18)),
        (400, 400, (400,)),
        (7, 1, (7,)),
    ],
)
def test_levels_follow_from_the_number_of_candidates(
    candidates: int, cells: int, counts: tuple[int, ...]
) -> None:
    assert level_counts(candidates, cells) == counts


def test_a_runner_of_one_size_cannot_be_augmented() -> None:
    with pytest.raises(ConfigError, match=r"--augment: x\.onnx takes images of 64x96 only"):
        AugmentedRunner(Spotter(size_hw=(64, 96)), "x.onnx")


def test_an_ensemble_of_a_model_with_itself_finds_the_same() -> None:
    one, images = Spotter(), picture(256, 416, *BOXES)
    both = EnsembleRunner([one, one], ["x.pt", "x.pt"])
    rules = {"confidence": 0.1, "iou": 0.5, "max_detections": 10, "multi_label": False}
    for alone, together in zip(
        non_maximum_suppression(one(images), **rules),
        non_maximum_suppression(both(images), **rules),
        strict=True,
    ):
        assert len(alone) == 1
        assert alone.equal(together)


def test_an_ensemble_joins_what_each_member_finds() -> None:
    images = picture(256, 416, *BOXES)
    members = [Spotter(), Spotter(shift=5, batch=1, stride=64)]
    ensemble = EnsembleRunner(members, ["a.pt", "b.onnx"])
    candidates = ensemble(images)
    assert candidates.equal(torch.cat((members[0](images), Spotter(shift=5)(images)), dim=1))
    assert members[1].seen == [(1, 3, 256, 416)] * 2
    assert (ensemble.stride, ensemble.batch, ensemble.size_hw) == (64, None, None)


def test_an_ensemble_takes_the_size_that_a_member_insists_on() -> None:
    members = [Spotter(), Spotter(size_hw=(64, 64))]
    assert EnsembleRunner(members, ["a", "b"]).size_hw == (64, 64)
    members.append(Spotter(size_hw=(96, 96)))
    with pytest.raises(ConfigError, match="different image sizes only: b 64x64, c 96x96"):
        EnsembleRunner(members, ["a", "b", "c"])


@pytest.mark.parametrize(
    ("names", "difference"),
    [(("cat",), "2 and 1 classes"), (("cat", "owl"), "class 1 is 'dog' and 'owl'")],
)
def test_members_of_other_classes_are_refused(names: tuple[str, ...], difference: str) -> None:
    with pytest.raises(ConfigError, match=rf"a\.pt and b\.pt do not know .*: {difference}"):
        EnsembleRunner([Spotter(), Spotter(names=names)], ["a.pt", "b.pt"])


def test_pieces_fill_up_the_last_one() -> None:
    spotter, images = Spotter(batch=2), picture(64, 64, *[(8, 8, 40, 40)] * 3)
    whole = Spotter()(images)
    images_and_black = Black(spotter)
    assert run_in_pieces(images_and_black, images).equal(whole)
    assert [shape[0] for shape in images_and_black.seen] == [2, 2]


@dataclass
class Black:
    """A spotter that may be shown black images."""

    spotter: Spotter
    names: tuple[str, ...] = NAMES
    stride: int = 32
    size_hw: Size | None = None
    batch: int | None = 2
    seen: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(self, images: Tensor) -> Tensor:
        self.seen.append(tuple(images.shape))
        lit = images.clone()
        lit[images.flatten(1).sum(1) == 0] = 255
        return self.spotter(lit)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_torch_runner_gives_the_same_in_pieces(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    detector = fuse(build_detector(read_arch("yolov5n"), NAMES))
    runner = TorchRunner(detector, torch.device("cpu"), precision)
    images = torch.randint(0, 256, (5, 3, 64, 96), dtype=torch.uint8)
    monkeypatch.setattr(torch_runner, "CPU_PIECE", 8)
    whole = runner(images)
    monkeypatch.setattr(torch_runner, "CPU_PIECE", 2)
    tolerance = 1e-4 if precision == "fp32" else 2e-2
    torch.testing.assert_close(runner(images), whole, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_decoding_in_place_is_decoding(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    detector = build_detector(read_arch("yolov5n"), NAMES)
    maps = [torch.randn(2, 3, 96 // s, 64 // s, 7).mul(3).to(kind) for s in detector.strides]
    expected = detector.decode([raw.float() for raw in maps])
    candidates = torch.full((3, count_candidates(maps), 7), -1.0)
    decode_into(detector, maps, candidates[:2])
    torch.testing.assert_close(candidates[:2], expected, rtol=1e-6, atol=1e-6)
    assert (candidates[2] == -1).all()
