"""Which layer is named when an exported file computes something else than torch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from prunus.export import blame
from prunus.export.blame import Outputs, first_layer_off
from prunus.model.detector import Detector

IMAGES = torch.randint(1, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.manual_seed(0))
SECOND, THIRD = "model.1.conv", "model.2.cv1.conv"
Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def named(detector: Detector, monkeypatch: pytest.MonkeyPatch, change: Change) -> str:
    """What is said of a file whose second and third convolutions put out something changed."""

    def tap(_path: Path, images: NDArray[np.float32]) -> Outputs:
        assert 0 < images.min() < images.max() <= 1
        found = blame._outputs_of_torch(detector, torch.from_numpy(images))
        return {layer: change(v) if layer in (SECOND, THIRD) else v for layer, v in found.items()}

    monkeypatch.setitem(blame.TAPS, ".file", tap)
    return first_layer_off(detector, Path("x.file"), IMAGES)


def with_nan(values: NDArray[np.float32]) -> NDArray[np.float32]:
    changed = values.copy()
    changed.flat[7] = np.nan
    return changed


@pytest.mark.parametrize(
    ("change", "off"),
    [(lambda v: v * 1.5, "0.5"), (lambda v: v[:, 1:], "inf"), (with_nan, "nan")],
    ids=["other values", "another shape", "no number"],
)
def test_the_first_that_differs_is_named(
    detector: Detector, monkeypatch: pytest.MonkeyPatch, change: Change, off: str
) -> None:
    said = named(detector, monkeypatch, change)
    assert said == f"The first layer that differs is {SECOND}, by {off} relative. "


def test_rounding_is_no_difference(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    assert named(detector, monkeypatch, lambda v: v * np.float32(1.0005)) == ""


def test_differences_are_shares_of_the_largest_value_or_of_one() -> None:
    small, large = np.array([0.1, -0.2], np.float32), np.array([1, -20], np.float32)
    assert blame._distance(small + np.float32(0.01), small) == pytest.approx(0.01, rel=1e-5)
    assert blame._distance(large + np.float32(0.1), large) == pytest.approx(0.005, rel=1e-5)


def test_a_runtime_that_cannot_show_its_insides_names_none(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tap(_path: Path, _images: NDArray[np.float32]) -> Outputs:
        raise RuntimeError("cannot add outputs")

    monkeypatch.setitem(blame.TAPS, ".file", tap)
    assert first_layer_off(detector, Path("x.file"), IMAGES) == ""
