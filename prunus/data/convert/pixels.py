"""Shares of an image back to pixels, without the noise of single precision."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NOISE = 2e-7
"""Of a coordinate, as a share of the image: three roundings of float32 near 1."""


def edges(
    box: NDArray[np.float32], size_hw: Sequence[int] | NDArray[np.int32]
) -> tuple[float, ...]:
    """Return left, top, right, bottom in pixels of a row of class, centre and size."""
    _, x, y, across, down = (float(value) for value in box)
    height, width = (int(side) for side in size_hw)
    return (
        tidy((x - across / 2) * width, width),
        tidy((y - down / 2) * height, height),
        tidy((x + across / 2) * width, width),
        tidy((y + down / 2) * height, height),
    )


def tidy(value: float, size: int) -> float:
    """Return a whole number where the value is one but for rounding; else six decimals."""
    whole = round(value)
    return float(whole) if abs(value - whole) <= NOISE * size else round(value, 6)


def text(value: float) -> str:
    """Return a number without a needless point: 12, 12.5."""
    return f"{value:.6f}".rstrip("0").rstrip(".")
