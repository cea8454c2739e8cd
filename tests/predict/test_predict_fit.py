"""A picture in a runner's canvas, and boxes carried back from it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from prunus.data.letterbox import GREY
from prunus.predict.fit import fit


class Canvas:
    """A runner that only says what it takes."""

    names, stride = ("plum",), 32

    def __init__(self, size_hw: tuple[int, int] | None = None, batch: int | None = None) -> None:
        self.size_hw, self.batch = size_hw, batch

    def __call__(self, images: Tensor) -> Tensor:
        return torch.zeros(len(images), 1, 6)


@pytest.mark.parametrize("size_hw", [(96, 128), (333, 500), (61, 40)])
@pytest.mark.parametrize("runner", [Canvas(batch=4), Canvas((128, 192))])
def test_a_frame_carries_boxes_back_exactly(size_hw: tuple[int, int], runner: Canvas) -> None:
    height, width = size_hw
    picture = np.full((height, width, 3), 200, np.uint8)
    fitted = fit(picture, runner, 128, Path("a.png"))
    _, rows, columns = np.nonzero(fitted.planes != GREY)
    found = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
    whole = np.array([[0, 0, width, height]], np.float32)
    pixel = max(1.0, 1 / min(fitted.frame.scale_yx))
    np.testing.assert_allclose(fitted.frame.to_image(found), whole, atol=0.51 * pixel)
    assert fitted.frame.size_hw == size_hw


@pytest.mark.parametrize(
    ("size_hw", "runner", "shape"),
    [
        ((480, 640), Canvas(), (3, 480, 640)),
        ((427, 640), Canvas(), (3, 448, 640)),
        ((500, 333), Canvas(batch=1), (3, 640, 448)),
        ((100, 100), Canvas(), (3, 640, 640)),
        ((427, 640), Canvas(batch=8), (3, 640, 640)),
        ((427, 640), Canvas((320, 416)), (3, 320, 416)),
    ],
)
def test_the_smallest_canvas_a_square_or_the_runners_own(
    size_hw: tuple[int, int], runner: Canvas, shape: tuple[int, int, int]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (*size_hw, 3), dtype=np.uint8)
    fitted = fit(pixels, runner, 640, Path("a.png"))
    assert fitted.planes.shape == shape
    assert fitted.planes.flags.c_contiguous
    assert fitted.frame.path == Path("a.png")
    if size_hw == (480, 640):
        np.testing.assert_array_equal(fitted.planes, pixels.transpose(2, 0, 1))
