"""Things that resemble plums, leaves and blossoms and are none: they get no box."""

from math import cos, pi, sin

import numpy as np

from prunus.data.scenes.branch import Point
from prunus.data.scenes.canvas import Sprite
from prunus.data.scenes.geometry import (
    Array,
    Grid,
    coverage,
    grid_around,
    mix,
    smoothstep,
    turned,
)
from prunus.data.scenes.light import Light
from prunus.data.scenes.palette import WHITE, colour, colours, pick
from prunus.data.scenes.texture import sample

_BALLS = colours("c4161c d8342a e2621f b01848 6a1f7a")
_SHELL = colours("c8191b d63a16 e06a14")
_BLACK = colour("17130f")
_MOSS = colours("3c5a1c 5c7d26 86a036")
_PEBBLE = colours("f2efe8 dcd8d0 c4c0ba b4a798")
_WING = colours("fdfdf8 f6f2da")
_WINGS = ((1.95, 0.62, False), (0.95, 0.92, True))
"""Hind wing and fore wing: angle from the body, length in radii, whether the tip is dark."""
_SPOTS = ((0.45, 0.5, 0.2), (-0.1, 0.36, 0.22), (-0.55, 0.48, 0.18), (0.6, 0.0, 0.15))
"""Dots of a ladybird's left half: place along and beside the body, radius; in half lengths."""


def _upright(grid: Grid, centre: Point, radius: float) -> tuple[Array, Array]:
    """Return (h, w) places to the right of and below the centre, in radii: normals of a ball."""
    x, y = turned(grid, *centre, 0.0)
    return x / radius, y / radius


def ball(rng: np.random.Generator, light: Light, centre: Point, radius: float) -> Sprite:
    """A lacquered toy ball: rounder, glossier and more even than any plum, some with a stripe."""
    grid = grid_around(*centre, radius)
    x, y = turned(grid, *centre, rng.uniform(0, pi))
    x, y = x / radius, y / radius
    inside = 1 - x * x - y * y
    z = np.sqrt(np.clip(inside, 0, 1))
    nx, ny = _upright(grid, centre, radius)
    rgb: Array = np.zeros((3, *grid.shape), dtype=np.float32) + pick(rng, _BALLS)
    lean, half = rng.uniform(-0.5, 0.5), rng.uniform(0.1, 0.22)
    belt = smoothstep(half + 0.04, half, np.abs(y + lean * z))
    if rng.random() < 0.55:
        rgb = mix(rgb, WHITE * 0.8, belt)
    shine = light.glint(nx, ny, z, 220) * 2.2 + light.glint(nx, ny, z, 25) * 0.15
    rim = ((1 - z) ** 2 * 0.35) * (light.sky + light.ground)
    return Sprite(grid, rgb * light.on(nx, ny, z) + rim + shine * light.sun, coverage(inside))


def ladybird(rng: np.random.Generator, light: Light, centre: Point, radius: float) -> Sprite:
    """A small red dome with black dots, a black head and the line between its wing cases."""
    heading = rng.uniform(0, 2 * pi)
    grid = grid_around(*centre, radius * 1.5)
    x, y = turned(grid, *centre, heading)
    x, y = x / radius, y / (radius * 0.84)
    body, head = 1 - x * x - y * y, 1 - ((x - 0.92) / 0.42) ** 2 - (y / 0.58) ** 2
    z = np.sqrt(np.clip(body, 0, 1))
    dots = smoothstep(0.05, 0.012, np.abs(y) - 0.02) * (body > 0)
    for spot_x, spot_y, size in _SPOTS:
        away = np.hypot(x - spot_x, np.abs(y) - spot_y)
        dots = np.maximum(dots, smoothstep(size * 1.15, size * 0.85, away))
    shell = mix(pick(rng, _SHELL), _BLACK, dots)
    nx, ny = _upright(grid, centre, radius)
    lit = shell * light.on(nx, ny, z) + 0.9 * light.glint(nx, ny, z, 60) * light.sun
    dark = np.zeros_like(lit) + _BLACK * light.mean
    cover = coverage(body)
    return Sprite(grid, mix(dark, lit, cover), np.maximum(cover, coverage(head)))


def moss(
    rng: np.random.Generator, light: Light, grain: Array, centre: Point, radius: float
) -> Sprite:
    """A cushion of moss or a gall: green and soft as a leaf, but a lump."""
    grid = grid_around(*centre, radius * 1.35)
    x, y = turned(grid, *centre, rng.uniform(0, pi))
    x, y = x / radius, y / (radius * rng.uniform(0.55, 0.95))
    lumps = sample(rng, grain, grid.shape, 14) - 0.5
    fuzz = sample(rng, grain, grid.shape, 120)
    inside = 1 - np.sqrt(x * x + y * y) + lumps * 0.5 + (fuzz - 0.5) * 0.12
    z = np.sqrt(np.clip(inside, 0.02, 1))
    rgb = mix(pick(rng, _MOSS[:2]), pick(rng, _MOSS[1:]), fuzz) * (0.5 + fuzz)
    nx, ny = _upright(grid, centre, radius)
    return Sprite(grid, rgb * light.on(nx, ny, z, wrap=0.4), coverage(inside))


def pebble(
    rng: np.random.Generator, light: Light, grain: Array, centre: Point, radius: float
) -> Sprite:
    """A rounded pale stone, flat on its belly."""
    grid = grid_around(*centre, radius * 1.3)
    tilt, flat = rng.normal(0, 0.25), rng.uniform(0.55, 0.85)
    x, y = turned(grid, *centre, tilt)
    x, y = x / radius, y / (radius * flat)
    lumps = sample(rng, grain, grid.shape, 8) - 0.5
    inside = 1 - (np.abs(x) ** 2.4 + np.abs(y) ** 2.4) + lumps * 0.3
    z = np.sqrt(np.clip(inside, 0.02, 1))
    speckle = 0.75 + 0.5 * sample(rng, grain, grid.shape, 100)
    rgb = pick(rng, _PEBBLE) * speckle
    return Sprite(grid, rgb * light.on(x * 0.8, y * 0.8, z, wrap=0.3) * 0.85, coverage(inside))


def butterfly(rng: np.random.Generator, light: Light, centre: Point, radius: float) -> Sprite:
    """A white butterfly: pale as a blossom, but two pairs of wings about a dark body."""
    grid = grid_around(*centre, radius * 1.1)
    heading, fold = rng.uniform(0, 2 * pi), rng.uniform(0.55, 1.0)
    x, y = turned(grid, *centre, heading)
    x, y = x / radius, y / radius
    rgb = np.zeros((3, *grid.shape), dtype=np.float32)
    alpha = np.zeros(grid.shape, dtype=np.float32)
    tint = pick(rng, _WING) * light.mean
    for side in (-1, 1):
        for angle, long, dark_tip in _WINGS:
            wing, skin = _wing(
                x, side * y / fold, angle, long, dark_tip, tint * (0.95 + 0.1 * side)
            )
            cover = coverage(wing)
            rgb = mix(rgb, skin, cover)
            alpha = np.maximum(alpha, cover)
    body = coverage(1 - (x / 0.42) ** 2 - (y / 0.055) ** 2)
    return Sprite(grid, mix(rgb, _BLACK, body), np.maximum(alpha, body))


def _wing(
    x: Array, y: Array, angle: float, long: float, dark_tip: bool, tint: Array
) -> tuple[Array, Array]:
    """Return the shape (> 0 inside) and the (3, h, w) colours of one wing on the side of y > 0."""
    cosine, sine = cos(angle), sin(angle)
    u, v = (x + 0.02) * cosine + y * sine, y * cosine - x * sine
    width = 0.4 * (0.4 + np.maximum(u, 0))
    shape = 1 - ((u / long - 0.52) / 0.5) ** 2 - (v / width) ** 2
    veined = tint * (0.92 + 0.08 * np.cos(v / (np.maximum(u, 0) + 0.1) * 16))
    dark = smoothstep(0.09, 0.06, np.hypot(u - 0.58, v - 0.1))
    if dark_tip:
        dark = np.maximum(dark, smoothstep(0.74, 0.86, u))
    return shape, mix(veined, 2 * _BLACK, 0.8 * dark)
