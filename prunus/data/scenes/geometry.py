"""Pixel grids, implicit shapes and their antialiased edges.

A shape is a function f of the pixel that is positive inside. Lengths are in pixels unless a name
says otherwise, x to the right and y down. Colours are planar, (3, h, w), for numpy runs along
whole rows when (h, w) masks weigh them.
"""

from dataclasses import dataclass
from math import ceil, cos, floor, sin
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
"""Holds float32 throughout; the stubs of numpy 2 lose that at the first Python number."""


@dataclass(frozen=True)
class Grid:
    """The pixel centres of a rectangle that may reach beyond the picture.

    Attributes:
        left: Column of the first pixel in the picture; may be negative.
        top: Row of the first pixel in the picture; may be negative.
        x: (1, w) pixel centres.
        y: (h, 1) pixel centres.
    """

    left: int
    top: int
    x: Array
    y: Array

    @property
    def shape(self) -> tuple[int, int]:
        return self.y.shape[0], self.x.shape[1]


def grid_between(left: float, top: float, right: float, bottom: float) -> Grid:
    """Return the smallest grid that covers a rectangle, with two pixels to spare for soft edges."""
    first_x, first_y = floor(left) - 2, floor(top) - 2
    x = np.arange(first_x, ceil(right) + 2, dtype=np.float32)[None, :] + 0.5
    y = np.arange(first_y, ceil(bottom) + 2, dtype=np.float32)[:, None] + 0.5
    return Grid(first_x, first_y, x, y)


def grown(grid: Grid, margin: int) -> Grid:
    """Return the grid with `margin` pixels more on every side."""
    height, width = grid.shape
    left, top = grid.left - margin, grid.top - margin
    x = np.arange(left, left + width + 2 * margin, dtype=np.float32)[None, :] + 0.5
    y = np.arange(top, top + height + 2 * margin, dtype=np.float32)[:, None] + 0.5
    return Grid(left, top, x, y)


def grid_around(x: float, y: float, radius: float) -> Grid:
    """Return the grid of the square of half side `radius` around a point."""
    return grid_between(x - radius, y - radius, x + radius, y + radius)


def window(grid: Grid, x: float, y: float, radius: float) -> tuple[slice, slice]:
    """Return the rows and columns of a grid within `radius` of a point, as slices."""
    height, width = grid.shape
    rows = slice(max(floor(y - radius) - grid.top, 0), min(ceil(y + radius) - grid.top + 1, height))
    columns = slice(
        max(floor(x - radius) - grid.left, 0), min(ceil(x + radius) - grid.left + 1, width)
    )
    return rows, columns


def turned(grid: Grid, x: float, y: float, angle: float) -> tuple[Array, Array]:
    """Return (h, w) coordinates in a frame at (x, y) whose first axis points along `angle`."""
    dx, dy = grid.x - x, grid.y - y
    cosine, sine = cos(angle), sin(angle)
    return dx * cosine + dy * sine, dy * cosine - dx * sine


def coverage(inside: Array) -> Array:
    """Return how much of each pixel lies where (h, w) f > 0, in [0, 1].

    To first order the distance from the edge is f / |grad f|: any smooth f has an edge of a pixel.
    """
    slope_x = cast("Array", cv2.Sobel(inside, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8))
    slope_y = cast("Array", cv2.Sobel(inside, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8))
    slope = np.sqrt(slope_x * slope_x + slope_y * slope_y) + 1e-6
    return np.clip(inside / slope + 0.5, 0, 1)


def gathered(mask: NDArray[np.bool_], *fields: Array) -> list[Array]:
    """Return the values of (h, w) fields under a mask as pictures of one row, (1, n).

    Slender things fill a small part of their rectangle; only that part need be shaded.
    """
    return [field[mask][None] for field in fields]


def spread(mask: NDArray[np.bool_], values: Array) -> Array:
    """Undo `gathered` for values (1, n) or (C, 1, n); zero elsewhere."""
    picture = np.zeros((*values.shape[:-2], *mask.shape), dtype=np.float32)
    picture[..., mask] = values[..., 0, :]
    return picture


def smoothstep(low: float, high: float, value: Array) -> Array:
    """Rise smoothly from 0 at `low` to 1 at `high`; fall, when `low` is the larger."""
    share: Array = np.clip((value - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


def mix(one: Array, other: Array, share: Array) -> Array:
    """Blend colours (3, h, w) or (3, 1, 1) by `share` (h, w) of the other."""
    return one + (other - one) * share


def blur(values: Array, sigma: float) -> Array:
    """Blur (h, w), or the planes of (C, h, w), unless sigma is below a quarter pixel.

    Wide blurs are made at a half or a quarter of the size: nobody sees it, and they are soon done.
    """
    if sigma < 0.25:
        return values
    if values.ndim == 3:
        return np.stack([blur(plane, sigma) for plane in values])
    shrink = 4 if sigma > 8 else 2 if sigma > 4 else 1
    if shrink == 1 or min(values.shape) < 4 * shrink:
        return cast("Array", cv2.GaussianBlur(values, (0, 0), sigma))
    small = (values.shape[1] // shrink, values.shape[0] // shrink)
    reduced = cv2.resize(values, small, interpolation=cv2.INTER_AREA)
    return resize(
        cast("Array", cv2.GaussianBlur(reduced, (0, 0), sigma / shrink)), values.shape, smooth=False
    )


def resize(values: Array, shape: tuple[int, ...], smooth: bool = True) -> Array:
    """Stretch (h, w), or the planes of (C, h, w), to the shape (height, width)."""
    if values.ndim == 3:
        return np.stack([resize(plane, shape, smooth) for plane in values])
    how = cv2.INTER_CUBIC if smooth else cv2.INTER_LINEAR
    return cast("Array", cv2.resize(values, (shape[1], shape[0]), interpolation=how))
