"""Leaves: a bent midrib, an outline around it, veins, two halves that the light finds unlike."""

from dataclasses import dataclass
from math import cos, sin

import numpy as np

from prunus.data.scenes.canvas import Sprite
from prunus.data.scenes.geometry import (
    Array,
    Grid,
    coverage,
    gathered,
    grid_between,
    mix,
    smoothstep,
    spread,
    turned,
)
from prunus.data.scenes.light import Light
from prunus.data.scenes.palette import AUTUMN, LEAF, colour, mix_two, pick
from prunus.data.scenes.texture import sample

_VEIN = colour("b9cf7c")
_SPOT = colour("5a3a1e")
_THROUGH = np.array([1.1, 1.15, 0.5], dtype=np.float32)[:, None, None]
"""How much of each colour of sunlight comes through a leaf: green and red, little blue."""


@dataclass(frozen=True)
class Outline:
    """The shape of a leaf in shares of its length.

    Attributes:
        width: Half the width at the widest place.
        base: How bluntly it starts: half width rises as u ** base.
        tip: How slenderly it ends: half width falls as (1 - u) ** tip.
        teeth: Teeth along each edge.
        depth: Depth of the teeth as a share of the half width.
        bend: How far the midrib has bent sideways at the tip.
    """

    width: float
    base: float
    tip: float
    teeth: float
    depth: float
    bend: float

    def half_width(self, u: Array) -> Array:
        """Return (...) half the width at the shares u in [0, 1] of the length."""
        widest = self.base / (self.base + self.tip)
        top = widest**self.base * (1 - widest) ** self.tip
        smooth: Array = u**self.base * (1 - u) ** self.tip * (self.width / top)
        saw = (u * self.teeth) % 1
        return smooth * (1 - self.depth * saw)


def draw_outline(rng: np.random.Generator) -> Outline:
    """Choose between slender, oval and broad leaves, seen flat or from the side."""
    seen = rng.uniform(0.7, 1.0)
    return Outline(
        width=rng.uniform(0.17, 0.32) * seen,
        base=rng.uniform(0.5, 0.85),
        tip=rng.uniform(0.6, 1.15),
        teeth=rng.uniform(16, 30),
        depth=rng.uniform(0.02, 0.1),
        bend=rng.normal(0, 0.14),
    )


def draw_leaf_colour(rng: np.random.Generator, autumn: float) -> Array:
    """Return colour of one leaf; with the chance `autumn` a yellow or red one."""
    green = pick(rng, LEAF)
    turning = rng.random() < autumn
    late = pick(rng, AUTUMN)
    return mix_two(green, late, rng.uniform(0.5, 1.0)) if turning else green


def leaf(
    rng: np.random.Generator,
    light: Light,
    grain: Array,
    base: tuple[float, float],
    angle: float,
    length: float,
    tint: Array,
) -> Sprite:
    """Paint one leaf.

    Args:
        rng: Source of its individual features.
        light: What falls on it.
        grain: The scene's noise field.
        base: x and y of where the blade begins, in pixels.
        angle: Where it points, in radians clockwise from right.
        length: From base to tip in pixels.
        tint: Colour of the blade.
    """
    outline = draw_outline(rng)
    grid = _grid(base, angle, length, outline)
    along, across = turned(grid, *base, angle)
    u = along / length
    held = np.clip(u, 0, 1)
    v = across / length - outline.bend * held * held
    half = outline.half_width(held)
    beyond = np.abs(u - held)
    alpha = coverage((half - np.abs(v) - beyond) * length)
    alpha = _bitten(rng, alpha, u, v, half)
    blade = alpha > 0
    rough, blotches = sample(rng, grain, grid.shape, 30), sample(rng, grain, grid.shape, 46)
    u, v, half, rough, blotches = gathered(blade, held, v, half, rough, blotches)
    side = v / (half + 0.02)
    veins, ribs = _veins(rng, u, v, side, length)
    skin = mix(tint * (0.7 + 0.6 * rough), _VEIN * 0.4 + tint * 0.8, veins)
    if rng.random() < 0.3:
        skin = mix(skin, _SPOT, smoothstep(0.7, 0.9, blotches) * 0.8)
    normal = _normals(rng, u, side, ribs, angle)
    return Sprite(grid, spread(blade, _lit(rng, skin, light, normal, side)), alpha)


def _grid(base: tuple[float, float], angle: float, length: float, outline: Outline) -> Grid:
    x, y = base
    margin = outline.width * length
    spine = [(u, outline.bend * u * u) for u in (0.0, 0.25, 0.5, 0.75, 1.0)]
    xs = [x + length * (u * cos(angle) - v * sin(angle)) for u, v in spine]
    ys = [y + length * (u * sin(angle) + v * cos(angle)) for u, v in spine]
    return grid_between(min(xs) - margin, min(ys) - margin, max(xs) + margin, max(ys) + margin)


def _bitten(rng: np.random.Generator, alpha: Array, u: Array, v: Array, half: Array) -> Array:
    """Take a caterpillar's bite out of some leaves."""
    hungry = rng.random() < 0.22
    where, size, edge = (
        rng.uniform(0.25, 0.75),
        rng.uniform(0.03, 0.07),
        (1 if rng.random() < 0.5 else -1),
    )
    if not hungry:
        return alpha
    away = np.sqrt((u - where) ** 2 + (np.abs(v - edge * half)) ** 2)
    return alpha * smoothstep(size * 0.85, size * 1.1, away)


def _veins(
    rng: np.random.Generator, u: Array, v: Array, side: Array, length: float
) -> tuple[Array, Array]:
    """Return the pale lines (h, w) in [0, 1], and the phase between side veins in [-0.5, 0.5]."""
    count, lean = rng.uniform(6, 10), rng.uniform(1.2, 2.2)
    phase = (u * count - np.abs(side) * lean + (v > 0) * 0.4) % 1 - 0.5
    fine = max(0.06, 1.1 * count / length)
    lateral = np.exp(-((phase / fine) ** 2)) * (1 - np.abs(side)) * 0.5
    thick = np.maximum(0.017 * (1 - u), (0.8 / length))
    midrib = np.exp(-((v / thick) ** 2)) * 0.85
    return np.clip(np.maximum(lateral, midrib), 0, 1), phase


def _normals(
    rng: np.random.Generator, u: Array, side: Array, ribs: Array, angle: float
) -> tuple[Array, Array, Array]:
    """Return unit normals: folded at the midrib, curled along it, puckered between the veins."""
    fold, curl, tilt = rng.uniform(0.1, 0.6), rng.normal(0, 0.5), rng.normal(0, 0.3)
    slope_v = fold * np.tanh(side * 6) * (0.6 + 0.4 * np.abs(side)) + tilt
    slope_u = curl * (u - 0.4) * 2 + ribs * 0.35 * (1 - np.abs(side))
    nx = slope_u * cos(angle) - slope_v * sin(angle)
    ny = slope_u * sin(angle) + slope_v * cos(angle)
    scale = 1 / np.sqrt(1 + nx * nx + ny * ny)
    return nx * scale, ny * scale, scale


def _lit(
    rng: np.random.Generator,
    blade: Array,
    light: Light,
    normal: tuple[Array, Array, Array],
    side: Array,
) -> Array:
    """Return (3, h, w) light that reaches the eye; some leaves stand against the sun and glow."""
    nx, ny, z = normal
    through = rng.uniform(0.1, 0.6) if rng.random() < 0.4 else 0.06
    rgb = blade * light.on(nx, ny, z)
    glow = blade * light.sun * _THROUGH * through
    sheen = light.glint(nx, ny, z, 14) * 0.10 + light.glint(nx, ny, z, 45) * 0.10
    edge = 1 - 0.25 * np.abs(side) ** 6
    return (rgb + glow) * np.clip(edge, 0, 1) + sheen * (light.sun + light.sky)
