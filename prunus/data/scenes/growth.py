"""From a plan in units to sprites on the canvas: how each kind of thing is painted."""

from collections.abc import Callable
from dataclasses import dataclass
from math import atan2, cos, hypot, pi, sin

import numpy as np

from prunus.data.scenes import decoy
from prunus.data.scenes.blossom import blossom
from prunus.data.scenes.branch import Limb, Point, between, limb_sprite
from prunus.data.scenes.canvas import Canvas, Sprite
from prunus.data.scenes.geometry import Array
from prunus.data.scenes.layout import CLASS_NAMES, Item
from prunus.data.scenes.leaf import draw_leaf_colour, leaf
from prunus.data.scenes.palette import BARK, STEM, TWIG, pick
from prunus.data.scenes.plum import Variety, draw_ripeness, plum

PLUM, LEAF, BLOSSOM = range(len(CLASS_NAMES))
BEYOND_RECOGNITION = 0.04
"""Defocus, in units, at which a leaf is a patch of green: it needs no box."""


@dataclass(frozen=True)
class Orchard:
    """What all things of one scene share.

    Attributes:
        rng: The scene's only source of chance.
        canvas: Where they are painted.
        variety: The kind of all its plums.
        petal: Colour of all its petals.
        autumn: Chance that a leaf has turned.
        depth_of_field: Defocus, in units, of the nearest and the farthest things.
    """

    rng: np.random.Generator
    canvas: Canvas
    variety: Variety
    petal: Array
    autumn: float
    depth_of_field: float

    def pixels(self, point: Point) -> Point:
        """Return a point in pixels that is given in units."""
        return point[0] * self.canvas.unit, point[1] * self.canvas.unit

    def defocus(self, depth: float) -> float:
        """Return the blur in pixels at a distance from the plane of focus."""
        return abs(depth) * self.depth_of_field * self.canvas.unit


def paint_limb(orchard: Orchard, limb: Limb) -> None:
    """Paint a branch or twig that is given in units."""
    rng, canvas = orchard.rng, orchard.canvas
    wood = pick(rng, BARK if limb.thick > 0.012 else TWIG)
    in_pixels = limb.scaled(canvas.unit)
    canvas.paint(limb_sprite(rng, canvas.light, canvas.grain, in_pixels, wood, canvas.ids.shape))


def paint_item(orchard: Orchard, item: Item) -> None:
    """Paint a plum, leaf, blossom or decoy, with what holds it."""
    _PAINTERS[item.kind](orchard, item)


def _stalk(orchard: Orchard, start: Point, end: Point, thick: float, depth: float) -> None:
    """Paint a thin stem between two points; all lengths in units."""
    rng, canvas = orchard.rng, orchard.canvas
    sway = rng.normal(0, 0.08) * hypot(end[0] - start[0], end[1] - start[1])
    strip = between(start, end, thick, 0.7 * thick, sway).scaled(canvas.unit)
    sprite = limb_sprite(
        rng, canvas.light, canvas.grain, strip, pick(rng, STEM), canvas.ids.shape, barked=False
    )
    canvas.paint(sprite, defocus=orchard.defocus(depth), height=0.0)


def _plum(orchard: Orchard, item: Item) -> None:
    rng, canvas = orchard.rng, orchard.canvas
    centre, radius = orchard.pixels(item.centre), item.radius * canvas.unit
    ripeness = draw_ripeness(rng)
    sprite = plum(rng, canvas.light, canvas.grain, centre, radius, orchard.variety, ripeness)
    canvas.paint(sprite, kind=PLUM, defocus=orchard.defocus(item.depth), height=0.035)
    x, y = item.centre
    _stalk(orchard, item.perch, (x, y - 0.93 * item.radius), 0.0055, item.depth)


def _leaf(orchard: Orchard, item: Item) -> None:
    rng, canvas = orchard.rng, orchard.canvas
    x, y = item.centre
    base = x - item.radius * cos(item.angle), y - item.radius * sin(item.angle)
    _stalk(orchard, item.perch, base, 0.0045, item.depth)
    tint, length = draw_leaf_colour(rng, orchard.autumn), 2 * item.radius * canvas.unit
    sprite = leaf(rng, canvas.light, canvas.grain, orchard.pixels(base), item.angle, length, tint)
    canvas.paint(sprite, kind=LEAF, defocus=orchard.defocus(item.depth))


def _blossom(orchard: Orchard, item: Item) -> None:
    rng, canvas = orchard.rng, orchard.canvas
    _stalk(orchard, item.perch, item.centre, 0.004, item.depth)
    centre, radius = orchard.pixels(item.centre), item.radius * canvas.unit
    sprite = blossom(rng, canvas.light, centre, radius, orchard.petal)
    canvas.paint(sprite, kind=BLOSSOM, defocus=orchard.defocus(item.depth), height=0.025)


def _ball(orchard: Orchard, item: Item) -> None:
    top = item.centre[0], item.centre[1] - item.radius
    _stalk(orchard, item.perch, top, 0.0025, item.depth)
    sprite = decoy.ball(orchard.rng, orchard.canvas.light, *_disc(orchard, item))
    _paint_decoy(orchard, item, sprite)


def _ladybird(orchard: Orchard, item: Item) -> None:
    sprite = decoy.ladybird(orchard.rng, orchard.canvas.light, *_disc(orchard, item))
    _paint_decoy(orchard, item, sprite)


def _moss(orchard: Orchard, item: Item) -> None:
    canvas = orchard.canvas
    sprite = decoy.moss(orchard.rng, canvas.light, canvas.grain, *_disc(orchard, item))
    _paint_decoy(orchard, item, sprite)


def _butterfly(orchard: Orchard, item: Item) -> None:
    sprite = decoy.butterfly(orchard.rng, orchard.canvas.light, *_disc(orchard, item))
    _paint_decoy(orchard, item, sprite)


def _disc(orchard: Orchard, item: Item) -> tuple[Point, float]:
    return orchard.pixels(item.centre), item.radius * orchard.canvas.unit


def _paint_decoy(orchard: Orchard, item: Item, sprite: Sprite) -> None:
    orchard.canvas.paint(sprite, defocus=orchard.defocus(item.depth), height=0.02)


_PAINTERS: dict[str, Callable[[Orchard, Item], None]] = {
    "plum": _plum,
    "leaf": _leaf,
    "blossom": _blossom,
    "ball": _ball,
    "ladybird": _ladybird,
    "moss": _moss,
    "butterfly": _butterfly,
}


def strew_pebbles(orchard: Orchard, frame: Point) -> None:
    """Lay pale stones on the ground in the lowest fifth of a frame of (height, width) units."""
    rng, canvas = orchard.rng, orchard.canvas
    for x, y, size in rng.random((int(rng.integers(0, 5)), 3)).tolist():
        place = orchard.pixels((x * frame[1], frame[0] * (0.8 + 0.2 * y)))
        radius = (0.03 + 0.05 * size) * canvas.unit
        sprite = decoy.pebble(rng, canvas.light, canvas.grain, place, radius)
        canvas.paint(sprite, defocus=0.004 * canvas.unit, height=0.0)


def hang_curtain(orchard: Orchard, frame: Point) -> None:
    """Hang leaves far behind the branch."""
    rng = orchard.rng
    for x, y, size, turn in rng.random((int(rng.integers(0, 5)), 4)).tolist():
        start = x * frame[1], y * frame[0]
        _unfocused_leaf(orchard, start, 2 * pi * turn, 0.2 + 0.25 * size, tone=0.6)


def hold_leaf_before_lens(orchard: Orchard, frame: Point) -> None:
    """Let a leaf close to the lens cover one corner with a soft shade."""
    rng = orchard.rng
    right, low = rng.random() < 0.5, rng.random() < 0.6
    inwards = atan2(-1.0 if low else 1.0, -1.0 if right else 1.0)
    angle = inwards + (1 if rng.random() < 0.5 else -1) * rng.uniform(0.5, 0.8)
    corner = frame[1] if right else 0.0, frame[0] if low else 0.0
    start = corner[0] - 0.15 * cos(angle), corner[1] - 0.15 * sin(angle)
    _unfocused_leaf(orchard, start, angle, rng.uniform(0.45, 0.7), tone=0.8)


def _unfocused_leaf(
    orchard: Orchard, start: Point, angle: float, length: float, tone: float
) -> None:
    """Paint a leaf far out of focus, at a quarter of the size: it has no detail to lose."""
    rng, canvas = orchard.rng, orchard.canvas
    unit = canvas.unit / 4
    tint = tone * draw_leaf_colour(rng, orchard.autumn)
    base = start[0] * unit, start[1] * unit
    small = leaf(rng, canvas.light, canvas.grain, base, angle, length * unit, tint)
    canvas.paint(small.blurred(BEYOND_RECOGNITION * unit).enlarged(4), height=0.0)
