"""What the operations hand to one another: a picture and its boxes in pixels."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prunus.data.decode import Pixels

Rings = tuple[NDArray[np.float32], ...]
"""The outline of one object: rings of (k, 2) x, y; none where only its box is known."""


class Sample(NamedTuple):
    """A picture with its boxes.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (n, 5) float32 class, left, top, right, bottom in pixels of `image`.
        outlines: n outlines in pixels of `image`, or None when there are none, or none are needed
            any more: `affine.vary` is the last one that uses them.
    """

    image: Pixels
    boxes: NDArray[np.float32]
    outlines: tuple[Rings, ...] | None = None


def move_outlines(
    outlines: tuple[Rings, ...] | None, scale_xy: tuple[float, float], shift_xy: tuple[float, float]
) -> tuple[Rings, ...] | None:
    """Return outlines at `point * scale + shift`."""
    if outlines is None:
        return None
    scale, shift = (np.array(pair, dtype=np.float32) for pair in (scale_xy, shift_xy))
    return tuple(tuple(ring * scale + shift for ring in rings) for rings in outlines)


def to_pixels(
    shares: NDArray[np.float32], scale_xy: tuple[float, float], shift_xy: tuple[float, float]
) -> NDArray[np.float32]:
    """Turn (n, 5) class, centre, size as shares into class, corners at `share * scale + shift`."""
    scale, shift = np.array(scale_xy), np.array(shift_xy)
    centre, half = shares[:, 1:3] * scale + shift, shares[:, 3:5] * scale / 2
    return np.hstack((shares[:, :1], centre - half, centre + half)).astype(np.float32)


def to_shares(boxes: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Turn (n, 5) class, corners in pixels into class, centre, size as shares of the picture."""
    size = np.array([width, height], dtype=np.float32)
    corners = boxes[:, 1:3], boxes[:, 3:5]
    centre, extent = (corners[0] + corners[1]) / 2 / size, (corners[1] - corners[0]) / size
    return np.hstack((boxes[:, :1], centre, extent)).astype(np.float32)
