"""Noise that does not depend on the resolution: a scene at twice the size is the same scene."""

import numpy as np

from prunus.data.scenes.geometry import Array, resize

TEXELS = 128
"""Side of the noise field that all things of one scene take their grain from."""


def noise(
    rng: np.random.Generator, shape: tuple[int, int], cells: tuple[float, float], octaves: int = 3
) -> Array:
    """Return (h, w) smooth noise with mean 0.5, mostly within [0, 1].

    Args:
        rng: Source; how many numbers it gives depends on `cells` and `octaves`, never on `shape`.
        shape: Height and width in pixels.
        cells: Bumps of the coarsest octave down and across the field.
        octaves: Each has bumps of half the size and half the height of the one before.
    """
    total = np.full(shape, 0.5, dtype=np.float32)
    for octave in range(octaves):
        down, across = (max(2, round(count * 2**octave) + 1) for count in cells)
        grid = rng.random((down, across), dtype=np.float32) - 0.5
        total += resize(grid, shape) * (0.5**octave)
    return total


def grain(rng: np.random.Generator) -> Array:
    """Return the (TEXELS, TEXELS) field for `sample`."""
    return noise(rng, (TEXELS, TEXELS), (8, 8), octaves=4)


def sample(
    rng: np.random.Generator, field: Array, shape: tuple[int, int], texels: float = 32.0
) -> Array:
    """Cut a random square of `texels` a side from the field and stretch it over (h, w) pixels."""
    side = min(round(texels), TEXELS - 1)
    top, left = (int(start) for start in rng.integers(0, TEXELS - side, 2))
    return resize(field[top : top + side, left : left + side], shape)
