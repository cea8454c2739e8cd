"""Limbs: branches, twigs, stems and stalks, all bent strips that taper, lit as on a cylinder."""

from dataclasses import dataclass, replace
from math import atan2, cos, hypot, pi, sin

import numpy as np

from prunus.data.scenes.canvas import Sprite
from prunus.data.scenes.geometry import (
    Array,
    Grid,
    gathered,
    grid_between,
    mix,
    smoothstep,
    spread,
    turned,
)
from prunus.data.scenes.light import Light
from prunus.data.scenes.palette import LICHEN
from prunus.data.scenes.texture import sample

Point = tuple[float, float]
_COURSE = np.linspace(0, 1, 9, dtype=np.float32)


@dataclass(frozen=True)
class Limb:
    """A wooden strip, in pixels.

    Attributes:
        start: x and y of its thick end.
        angle: Where it points, in radians clockwise from right.
        length: From end to end along the straight line.
        thick: Half the width at the start.
        thin: Half the width at the end.
        sway: Sideways swing of its middle.
        waves: Half swings from end to end.
        phase: Where in the swing it begins, in radians.
    """

    start: Point
    angle: float
    length: float
    thick: float
    thin: float
    sway: float = 0.0
    waves: float = 1.0
    phase: float = 0.0

    def scaled(self, times: float) -> "Limb":
        """Return the limb in a frame whose unit is 1 / `times` of this one's."""
        x, y = self.start
        return replace(
            self,
            start=(x * times, y * times),
            length=self.length * times,
            thick=self.thick * times,
            thin=self.thin * times,
            sway=self.sway * times,
        )

    def offset(self, u: Array) -> Array:
        """Return the sideways offset (...) at shares u of the length; zero at the start."""
        swing: Array = np.sin(u * (self.waves * pi) + self.phase) - sin(self.phase)
        offset: Array = self.sway * (swing + 0.25 * np.sin(u * (5 * pi)))
        return offset

    def points(self, shares: Array) -> tuple[Array, Array]:
        """Return x and y of the middle line at shares (n) of the length."""
        along, across = shares * self.length, self.offset(shares)
        return (
            self.start[0] + along * cos(self.angle) - across * sin(self.angle),
            self.start[1] + along * sin(self.angle) + across * cos(self.angle),
        )

    def point(self, share: float) -> Point:
        """Return x and y of the middle line at a share of the length."""
        x, y = self.points(np.array([share], dtype=np.float32))
        return float(x[0]), float(y[0])


def between(start: Point, end: Point, thick: float, thin: float, sway: float = 0.0) -> Limb:
    """Return the strip from one point to another; it sways out and comes back."""
    angle, length = (
        atan2(end[1] - start[1], end[0] - start[0]),
        hypot(end[0] - start[0], end[1] - start[1]),
    )
    return Limb(start, angle, max(length, 1e-3), thick, thin, sway)


def limb_sprite(
    rng: np.random.Generator,
    light: Light,
    grain: Array,
    limb: Limb,
    wood: Array,
    frame: tuple[float, float],
    barked: bool = True,
) -> Sprite:
    """Paint a limb as far as it lies in the picture.

    Args:
        rng: Source of its bark.
        light: What falls on it.
        grain: The scene's noise field.
        limb: Its course.
        wood: Its colour.
        frame: Height and width of the picture, in pixels; what lies outside is not painted.
        barked: Whether it has bark; a stem is smooth.
    """
    grid = _grid(limb, frame)
    along, across = turned(grid, *limb.start, limb.angle)
    strip = np.abs(across) < 2.3 * abs(limb.sway) + 1.2 * limb.thick + 1
    along, across = gathered(strip, along, across)
    u = np.clip(along / limb.length, 0, 1)
    half = limb.thick + u * (limb.thin - limb.thick)
    skin = wood
    if barked:
        knots, rough, lichen = (sample(rng, grain, grid.shape, texels) for texels in (12, 90, 40))
        knots, rough, lichen = gathered(strip, knots, rough, lichen)
        half *= 0.85 + 0.3 * knots
        skin = _bark(along / limb.thick, rough, lichen * rng.uniform(0.7, 1.1), wood)
    side = (across - limb.offset(u)) / half
    alpha = np.clip(half * (1 - np.abs(side)) - np.abs(along - u * limb.length) + 0.5, 0, 1)
    rgb = skin * _on_cylinder(light, np.clip(side, -1, 1), limb.angle)
    return Sprite(grid, spread(strip, rgb), spread(strip, alpha))


def _grid(limb: Limb, frame: tuple[float, float]) -> Grid:
    """Return the grid around a limb, cut to the frame of (height, width) pixels and a margin."""
    x, y = limb.points(_COURSE)
    margin = limb.thick * 1.3 + 2
    left, right = np.clip([x.min() - margin, x.max() + margin], -margin, frame[1] + margin).tolist()
    top, bottom = np.clip([y.min() - margin, y.max() + margin], -margin, frame[0] + margin).tolist()
    return grid_between(left, top, right, bottom)


def _bark(along: Array, rough: Array, lichen: Array, wood: Array) -> Array:
    """Return (3, 1, n) wood with rings, pores and pale lichen; `along` in thicknesses."""
    rings = 0.5 + 0.5 * np.sin(along * 1.9 + rough * 9)
    tone = 0.55 + 0.75 * rough - 0.22 * rings * smoothstep(0.45, 0.7, rough)
    return mix(wood * tone, 0.6 * wood + 0.5 * LICHEN, 0.4 * smoothstep(0.62, 0.75, lichen))


def _on_cylinder(light: Light, side: Array, angle: float) -> Array:
    z = np.sqrt(1 - 0.96 * side * side)
    return light.on(-side * sin(angle), side * cos(angle), z)
