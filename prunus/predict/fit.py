"""A picture, fitted into what a runner takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from prunus.core.records import Frame, Runner, Size
from prunus.data.decode import Pixels
from prunus.data.letterbox import fitted_size, letterbox, to_planes
from prunus.data.rectangles import multiple_of


@dataclass(frozen=True)
class Fitted:
    """A picture as a runner takes it.

    Attributes:
        planes: (3, H, W) uint8 RGB.
        frame: How the picture lies there.
    """

    planes: Pixels
    frame: Frame


def fit(image: Pixels, runner: Runner, image_size: int, path: Path) -> Fitted:
    """Fit a picture into the smallest canvas that holds it, or the runner's only one.

    Args:
        image: (H, W, 3) uint8 RGB.
        runner: What will look at it.
        image_size: Long side in pixels; what the runner says goes before it.
        path: Of the picture, for its frame.
    """
    size_hw: Size = (image.shape[0], image.shape[1])
    if runner.size_hw is None:
        side, shape = image_size, _canvas(size_hw, image_size, runner)
    else:
        shape = runner.size_hw
        # The side at which it fits, so that it is resized once and not twice.
        side = round(max(size_hw) * min(shape[0] / size_hw[0], shape[1] / size_hw[1]))
    canvas, scale_yx, pad_yx = letterbox(image, side, shape, scale_up=False)
    planes = np.empty((3, *shape), dtype=np.uint8)
    to_planes(canvas, planes)
    return Fitted(planes, Frame(path, size_hw, scale_yx, pad_yx))


def run_on(runner: Runner, pictures: Sequence[Fitted]) -> Tensor:
    """Return (B, N, 5 + K) candidates of equally large pictures, no more than the runner's batch.

    A runner of a fixed batch gets the last picture again where pictures are lacking.
    """
    planes = [picture.planes for picture in pictures]
    planes += planes[-1:] * ((runner.batch or len(planes)) - len(planes))
    return runner(torch.from_numpy(np.stack(planes)))[: len(pictures)]


def _canvas(size_hw: Size, image_size: int, runner: Runner) -> Size:
    """Return the smallest rectangle for a single picture; a square where they come in batches."""
    if runner.batch in (None, 1):
        tall, wide = fitted_size(size_hw, image_size)
        return multiple_of(tall, runner.stride), multiple_of(wide, runner.stride)
    square = multiple_of(image_size, runner.stride)
    return square, square
