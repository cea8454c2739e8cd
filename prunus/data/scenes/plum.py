"""Plums: skin from green to violet, a seam, pale dots, the waxy bloom and the light on them."""

from dataclasses import dataclass
from math import cos, sin

import numpy as np

from prunus.data.scenes.canvas import Sprite
from prunus.data.scenes.geometry import Array, coverage, grid_around, mix, smoothstep, turned
from prunus.data.scenes.light import Light
from prunus.data.scenes.palette import colour, mix_two
from prunus.data.scenes.texture import noise, sample


@dataclass(frozen=True)
class Variety:
    """How one kind of plum looks.

    Attributes:
        shade: colour of the side that has seen less sun.
        blush: colour of the side that has seen more.
        bloom: colour of the wax.
        wax: Strength of the bloom in [0, 1].
        tall: Height by width.
    """

    shade: Array
    blush: Array
    bloom: Array
    wax: float
    tall: float


VARIETIES = (
    Variety(colour("6b2b52"), colour("33204a"), colour("98a3cc"), 0.62, 1.22),  # damson, prune
    Variety(colour("7a2648"), colour("4a1a3a"), colour("a99cc0"), 0.45, 1.10),  # violet
    Variety(colour("c9503a"), colour("8f1730"), colour("d3a5b4"), 0.30, 1.05),  # red
    Variety(colour("e9a63a"), colour("c2353a"), colour("e6c3b4"), 0.22, 1.02),  # red over yellow
    Variety(colour("efc04a"), colour("dd8a34"), colour("f1dfb2"), 0.22, 1.00),  # mirabelle
    Variety(colour("b3bd57"), colour("c79a4c"), colour("dfe3b8"), 0.32, 1.05),  # greengage
)
UNRIPE = colour("8fae45")
_DOT = colour("f0dcb4")


def draw_variety(rng: np.random.Generator) -> Variety:
    """Choose the variety that all plums of a scene belong to."""
    return VARIETIES[int(rng.choice(len(VARIETIES), p=(0.25, 0.2, 0.2, 0.15, 0.1, 0.1)))]


def draw_ripeness(rng: np.random.Generator) -> float:
    """Choose how ripe a plum is, in [0, 1]; most are."""
    return float(np.clip(rng.beta(2.2, 0.7), 0, 1))


def plum(
    rng: np.random.Generator,
    light: Light,
    grain: Array,
    centre: tuple[float, float],
    radius: float,
    variety: Variety,
    ripeness: float,
) -> Sprite:
    """Paint one plum.

    Args:
        rng: Source of its individual features.
        light: What falls on it.
        grain: The scene's noise field.
        centre: x and y in pixels.
        radius: Half its width in pixels.
        variety: Its colours and shape.
        ripeness: 0 is green, 1 is ripe.
    """
    tilt = rng.normal(0, 0.22)
    tall = variety.tall * rng.uniform(0.94, 1.08)
    grid = grid_around(*centre, radius * max(tall, 1.0) * 1.08)
    across, along = turned(grid, *centre, tilt)
    x, y, inside = _outline(across / radius, along / (radius * tall), rng.uniform(-0.08, 0.1))
    z = np.sqrt(np.clip(inside, 0.0, 1))
    nx, ny = x * cos(tilt) - y * sin(tilt), x * sin(tilt) + y * cos(tilt)
    nx, ny, seam = _seam(nx, ny, z, x, rng.uniform(-0.9, 0.9))
    patches = sample(rng, grain, grid.shape, 34)
    flesh = _flesh(rng, variety, ripeness, light, (nx, ny, z), patches)
    dots = smoothstep(0.84, 0.97, noise(rng, grid.shape, (44, 44), 1)) * smoothstep(0.1, 0.6, z)
    flesh = mix(flesh, _DOT, dots * rng.uniform(0.05, 0.3))
    dimple = np.exp(-((x * x) * 10 + (y + 0.93) ** 2 * 26))
    flesh *= 1 - 0.45 * seam - 0.55 * dimple
    wiped = 0.6 * sample(rng, grain, grid.shape, 22) + 0.4 * sample(rng, grain, grid.shape, 80)
    wax = _wax(rng, variety.wax * (0.35 + 0.65 * ripeness), ny, patches, wiped)
    skin = mix(flesh, variety.bloom, wax * (1 - 0.4 * seam))
    return Sprite(grid, _lit(skin, light, (nx, ny, z), wax), coverage(inside))


def _outline(x: Array, y: Array, egg: float) -> tuple[Array, Array, Array]:
    """Return surface coordinates and the shape: an egg with a nick where the stem enters."""
    wide = x / (1 + egg * y)
    nick = 0.07 * np.exp(-(wide * wide) * 22) * (y < 0)
    deep = y * (1 + nick)
    return wide, deep, 1 - wide * wide - deep * deep


def _seam(nx: Array, ny: Array, z: Array, x: Array, turn: float) -> tuple[Array, Array, Array]:
    """Bend the normals along the groove from stem to tip; also return its depth in [0, 1]."""
    beside = x * cos(turn) - z * sin(turn)
    depth = np.exp(-((beside / 0.07) ** 2)) * smoothstep(0.0, 0.35, z)
    push = -2.5 * beside * depth
    return nx + push, ny, depth * 0.55


def _flesh(
    rng: np.random.Generator,
    variety: Variety,
    ripeness: float,
    light: Light,
    normal: tuple[Array, Array, Array],
    patches: Array,
) -> Array:
    """Return (3, h, w) skin: more blush towards where the sun mostly was, in uneven patches."""
    nx, ny, z = normal
    spot = light.towards_sun + rng.normal(0, 0.45, 3).astype(np.float32)
    spot /= np.linalg.norm(spot)
    sunny = nx * spot[0] + ny * spot[1] + z * spot[2] + (patches - 0.5) * 1.1
    start = 0.95 - 1.35 * ripeness
    shade = mix_two(UNRIPE, variety.shade, float(np.clip(1.6 * ripeness - 0.35, 0, 1)))
    blush = mix_two(UNRIPE, variety.blush, float(np.clip(1.9 * ripeness - 0.2, 0, 1)))
    return mix(shade, blush, smoothstep(start, start + 0.75, sunny))


def _wax(
    rng: np.random.Generator, strength: float, ny: Array, patches: Array, wiped: Array
) -> Array:
    """Return (h, w) thickness of the bloom: thicker on top, rubbed off in places."""
    edge = rng.uniform(0.25, 0.5)
    left = 0.25 + 0.75 * smoothstep(edge - 0.3, edge + 0.3, wiped)
    wax: Array = strength * left * (0.6 - 0.3 * ny) * (0.5 + patches)
    return wax


def _lit(skin: Array, light: Light, normal: tuple[Array, Array, Array], wax: Array) -> Array:
    """Return (3, h, w) light to the eye: diffuse, sky on the rim, highlights dulled by wax."""
    nx, ny, z = normal
    body: Array = skin * light.on(nx, ny, z, wrap=0.25)
    bare = 1 - np.clip(wax * 1.3, 0, 0.85)
    rim = (1 - z) ** 3 * (0.5 - 0.5 * ny) * 0.35
    sheen = light.glint(nx, ny, z, 9) * 0.10 + light.glint(nx, ny, z, 70) * bare * 0.75
    mirrored: Array = rim * light.sky + sheen * light.sun
    return body + mirrored
