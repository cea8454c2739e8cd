"""Rectangular batches: images of like shape together. Spec sheet 2.8."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prunus.core.records import Size

PAD_STRIDES = 0.5
"""Extra border, in strides, that the reference gives each rectangle: 640 becomes 672."""


@dataclass(frozen=True)
class Rectangle:
    """One batch: which images, and the canvas that they share.

    Attributes:
        images: Positions in the index.
        shape_hw: Canvas in pixels.
    """

    images: tuple[int, ...]
    shape_hw: Size


def rectangles(
    sizes_hw: NDArray[np.int32], image_size: int, batch_size: int, stride: int
) -> tuple[Rectangle, ...]:
    """Cut the images into batches of like shape and give each its canvas.

    Args:
        sizes_hw: (N, 2) image sizes in pixels.
        image_size: Long side in pixels.
        batch_size: Images a batch; the last may hold fewer.
        stride: Canvas sides are multiples of this.
    """
    ratios = sizes_hw[:, 0] / sizes_hw[:, 1]
    return tuple(
        Rectangle(group, _canvas(ratios[list(group)], image_size, stride))
        for group in shape_groups(sizes_hw, batch_size)
    )


def shape_groups(sizes_hw: NDArray[np.int32], batch_size: int) -> tuple[tuple[int, ...], ...]:
    """Cut the images, ordered by height over width, into groups of a batch each.

    Equal ratios keep their order, so that groups are the same on every machine.
    """
    order = np.argsort(sizes_hw[:, 0] / sizes_hw[:, 1], kind="stable").tolist()
    return tuple(
        tuple(order[start : start + batch_size]) for start in range(0, len(order), batch_size)
    )


def squares(count: int, image_size: int, batch_size: int, stride: int) -> tuple[Rectangle, ...]:
    """Cut the images, in index order, into batches of square canvases."""
    side = multiple_of(image_size, stride)
    starts = range(0, count, batch_size)
    return tuple(
        Rectangle(tuple(range(start, min(start + batch_size, count))), (side, side))
        for start in starts
    )


def multiple_of(length: float, stride: int) -> int:
    """Round a length up to a multiple of the stride."""
    return math.ceil(length / stride) * stride


def _canvas(ratios: NDArray[np.float64], image_size: int, stride: int) -> Size:
    """Return the canvas for images of these heights over widths."""
    lowest, highest = float(ratios.min()), float(ratios.max())
    share_h, share_w = 1.0, 1.0
    if highest < 1:
        share_h = highest
    elif lowest > 1:
        share_w = 1 / lowest
    height, width = (
        math.ceil(share * image_size / stride + PAD_STRIDES) * stride
        for share in (share_h, share_w)
    )
    return height, width
