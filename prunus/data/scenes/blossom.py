"""Blossoms: five cupped petals, a tinted throat, stamens with yellow heads."""

from math import cos, pi, sin
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from prunus.data.scenes.canvas import Sprite
from prunus.data.scenes.geometry import (
    Array,
    Grid,
    coverage,
    grid_around,
    mix,
    smoothstep,
    turned,
    window,
)
from prunus.data.scenes.light import Light
from prunus.data.scenes.palette import colour, colours, mix_two, pick

PETAL = colours("fdfbf7 fcf3f2 f9e3e8 f4c6d4")
_THROAT = colours("c3cc6a d8dc8c e08a9c d0557c")
_FILAMENT = colour("f4ecd2")
_ANTHER = colours("f6cf3a eda52a c9782c")
_SHARP = 4
"""Sub-pixel bits and supersampling of the stamens, which are thinner than a pixel."""


def draw_petal_colour(rng: np.random.Generator) -> Array:
    """Return the petal colour that all blossoms of a scene share; white more often than pink."""
    return mix_two(PETAL[0], pick(rng, PETAL), rng.uniform(0, 1))


def blossom(
    rng: np.random.Generator, light: Light, centre: tuple[float, float], radius: float, petal: Array
) -> Sprite:
    """Paint one blossom.

    Args:
        rng: Source of its individual features.
        light: What falls on it.
        centre: x and y in pixels.
        radius: From the centre to the tip of a petal seen from the front, in pixels.
        petal: colour of the petals.
    """
    grid = grid_around(*centre, radius * 1.12)
    lean, squash, turn = rng.uniform(0, 2 * pi), rng.uniform(0.55, 1.0), rng.uniform(0, 2 * pi)
    x, y = turned(grid, *centre, lean)
    x, y = x / (radius * squash), y / radius
    throat = _THROAT[int(rng.integers(len(_THROAT)))]
    rgb: Array = np.zeros((3, *grid.shape), dtype=np.float32) + petal
    alpha: Array = np.zeros(grid.shape, dtype=np.float32)
    for place in rng.permutation(5):
        angle = turn + place * 2 * pi / 5 + rng.normal(0, 0.09)
        middle = _on_picture(
            centre, 0.5 * radius * cos(angle), 0.5 * radius * sin(angle), lean, squash
        )
        here = window(grid, *middle, 0.66 * radius)
        shape, along, side = _petal(rng, x[here], y[here], angle)
        cover = coverage(shape)
        facing = _normals(along, side, angle, lean, squash)
        tinted = mix(petal, throat, np.exp(-np.abs(along) * 5) * 0.55) * _streaks(along, side)
        shade = tinted * (light.on(*facing, wrap=0.45) + 0.15 * light.sun)
        below = rgb[(slice(None), *here)]
        below *= 1 - 0.4 * smoothstep(-0.4, 0.05, shape) * (1 - cover)
        below += (shade - below) * cover
        alpha[here] = np.maximum(alpha[here], cover)
    rgb = _heart(rng, rgb, light, x, y, throat)
    return Sprite(grid, _stamens(rng, rgb, light, grid, centre, (radius, lean, squash)), alpha)


def _petal(
    rng: np.random.Generator, x: Array, y: Array, angle: float
) -> tuple[Array, Array, Array]:
    """Return one petal's shape (> 0 inside), and coordinates along it and across it."""
    length, width = rng.uniform(0.88, 1.0), rng.uniform(0.34, 0.43)
    notch, twist = rng.uniform(0.0, 0.09), rng.normal(0, 0.12)
    cosine, sine = cos(angle), sin(angle)
    along, across = (x * cosine + y * sine) / length, y * cosine - x * sine
    side = (across - twist * along * along) / width
    middle = 0.6 + notch * np.exp(-(side * side) * 18)
    reach = np.where(along < middle, 0.62, 1 - middle)
    return 1 - side * side - ((along - middle) / reach) ** 2, along, side


def _normals(
    along: Array, side: Array, angle: float, lean: float, squash: float
) -> tuple[Array, Array, Array]:
    """Return unit normals of a petal that rises towards its tip and rolls in at its sides."""
    rise = -0.55 * np.clip(along, 0, 1) + 0.25
    roll = -0.35 * side
    towards, aside = cos(angle), sin(angle)
    u, v = rise * towards - roll * aside, rise * aside + roll * towards
    u = u + (1 - squash) * 0.6
    cosine, sine = cos(lean), sin(lean)
    nx, ny = u * cosine - v * sine, u * sine + v * cosine
    scale = 1 / np.sqrt(1 + nx * nx + ny * ny)
    return nx * scale, ny * scale, scale


def _streaks(along: Array, side: Array) -> Array:
    """Return (h, w) factor of the faint veins that run from the throat to the edge."""
    fan = side / (np.abs(along) + 0.25)
    return 1 - 0.045 * (0.5 + 0.5 * np.cos(fan * 17))


def _heart(
    rng: np.random.Generator, rgb: Array, light: Light, x: Array, y: Array, throat: Array
) -> Array:
    """Darken the middle, where the petals meet."""
    away = x * x + y * y
    deep = np.exp(-away * rng.uniform(30, 60))
    return mix(rgb, throat * 0.75 * light.mean, deep * 0.75)


def _stamens(
    rng: np.random.Generator,
    rgb: Array,
    light: Light,
    grid: Grid,
    centre: tuple[float, float],
    pose: tuple[float, float, float],
) -> Array:
    """Draw filaments and anthers over the petals."""
    radius, lean, squash = pose
    filaments, anthers = (
        np.zeros([side * _SHARP for side in grid.shape], dtype=np.uint8) for _ in range(2)
    )
    count = int(rng.integers(11, 18))
    angles = np.arange(count) * 2 * pi / count + rng.normal(0, 0.14, count)
    lengths = rng.uniform(0.22, 0.48, count) * radius
    thick = max(1, round(0.018 * radius * _SHARP))
    head = max(2, round(0.038 * radius * _SHARP))
    start = _place(centre[0], centre[1], grid)
    for angle, length in zip(angles, lengths, strict=True):
        tip = _on_picture(centre, length * cos(angle), length * sin(angle), lean, squash)
        end = _place(*tip, grid)
        cv2.line(filaments, start, end, 255, thick)
        cv2.circle(anthers, end, head, 255, -1)
    shape = grid.shape
    rgb = mix(rgb, _FILAMENT * light.mean, _shrunk(filaments, shape) * 0.75)
    return mix(rgb, pick(rng, _ANTHER) * light.mean, _shrunk(anthers, shape))


def _on_picture(
    centre: tuple[float, float], x: float, y: float, lean: float, squash: float
) -> tuple[float, float]:
    """Return the pixel of a point of the flat blossom, squashed along `lean` as seen aslant."""
    x = x * squash
    return centre[0] + x * cos(lean) - y * sin(lean), centre[1] + x * sin(lean) + y * cos(lean)


def _place(x: float, y: float, grid: Grid) -> tuple[int, int]:
    return round((x - grid.left) * _SHARP), round((y - grid.top) * _SHARP)


def _shrunk(mask: NDArray[np.uint8], shape: tuple[int, int]) -> Array:
    small = cv2.resize(mask, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return cast("Array", small.astype(np.float32) / 255)
