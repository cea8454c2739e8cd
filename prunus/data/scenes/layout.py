"""Where things grow: limbs across the picture, and fruit, leaves, blossoms and decoys on them.

Lengths are in units, shares of the picture's shorter side: a scene is the same at any resolution.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import atan2, cos, hypot, pi, sin

import numpy as np

from prunus.data.scenes.branch import Limb, Point

MAX_OBJECTS = 12
CLASS_NAMES = ("plum", "leaf", "blossom")
SEASONS: dict[str, tuple[float, float, float]] = {
    "spring": (0.0, 0.36, 0.64),
    "summer": (0.58, 0.42, 0.0),
    "all year": (0.34, 0.32, 0.34),
}
"""Shares of the classes. No tree bears fruit and flowers at once; a detector's exercise may."""
DECOYS = ("ball", "ladybird", "moss", "butterfly")
_RADII = {
    "plum": (0.068, 0.105),
    "leaf": (0.12, 0.2),
    "blossom": (0.07, 0.11),
    "ball": (0.05, 0.09),
    "ladybird": (0.022, 0.036),
    "moss": (0.03, 0.065),
    "butterfly": (0.06, 0.1),
}
"""Smallest and largest radius at scale 1: most boxes are 13 to 35 % of the picture's side."""
_TRIES = 14
_STEPS = np.linspace(0.1, 1, 24, dtype=np.float32)
"""Where along a limb things may grow, in shares of its length."""


@dataclass(frozen=True)
class Item:
    """One thing to paint.

    Attributes:
        kind: One of CLASS_NAMES or DECOYS.
        centre: x and y of its middle.
        radius: Half its width; for a leaf, half its length.
        perch: x and y of where it is attached.
        angle: Where it points, in radians clockwise from right.
        depth: Distance from the plane of focus; the smallest is painted first.
    """

    kind: str
    centre: Point
    radius: float
    perch: Point
    angle: float
    depth: float


@dataclass(frozen=True)
class Plan:
    """A whole scene: limbs from back to front, then items from back to front."""

    limbs: tuple[Limb, ...]
    items: tuple[Item, ...]


@dataclass(frozen=True)
class _Perch:
    """A place on a limb, and the way that the limb points there."""

    point: Point
    angle: float


def plan(rng: np.random.Generator, frame: Point, season: str) -> Plan:
    """Lay out a scene in a frame of (height, width) units."""
    limbs = _grow(rng, frame)
    perches = [
        [
            _Perch((float(x), float(y)), limb.angle)
            for x, y in zip(*limb.points(_STEPS), strict=True)
        ]
        for limb in limbs
    ]
    items = _settle(rng, frame, perches, SEASONS[season])
    return Plan(limbs, tuple(sorted(items, key=lambda item: item.depth)))


def _grow(rng: np.random.Generator, frame: Point) -> tuple[Limb, ...]:
    """Return twigs and then the branch that they grow from."""
    height, width = frame
    if rng.random() < 0.3:  # from above
        start, angle = (rng.uniform(0.25, 0.75) * width, -0.1), rng.normal(pi / 2, 0.3)
        length = rng.uniform(0.9, 1.3) * height
    else:
        from_left = rng.random() < 0.5
        start = (-0.1 if from_left else width + 0.1, rng.uniform(0.12, 0.62) * height)
        angle = rng.normal(0, 0.2) + (0 if from_left else pi)
        length = rng.uniform(0.95, 1.35) * (width + 0.1)
    thick, sway = rng.uniform(0.014, 0.03), rng.normal(0, 0.05)
    waves, phase = rng.uniform(1, 2.2), rng.uniform(0, 2 * pi)
    main = Limb(start, angle, length, thick, 0.25 * thick, sway, waves, phase)
    return (*_twigs(rng, main), main)


def _twigs(rng: np.random.Generator, main: Limb) -> list[Limb]:
    twigs = []
    for share in rng.uniform(0.08, 0.92, int(rng.integers(3, 6))).tolist():
        angle = main.angle + _either(rng, 0.6) * rng.uniform(0.4, 1.2)
        length, slim = rng.uniform(0.25, 0.55), rng.uniform(0.005, 0.009)
        sway = rng.normal(0, 0.02)
        twigs.append(Limb(main.point(share), angle, length, slim, 0.5 * slim, sway))
    return twigs


def _settle(
    rng: np.random.Generator,
    frame: Point,
    perches: list[list[_Perch]],
    shares: tuple[float, float, float],
) -> list[Item]:
    """Place as many items as there is room for; each keeps some distance from those before it."""
    scale = float(np.exp(rng.uniform(-0.25, 0.4)))
    wanted = int(np.clip(round(rng.uniform(5, 14) / scale), 3, MAX_OBJECTS))
    gap = rng.uniform(0.66, 1.0)
    items: list[Item] = []
    for number in rng.choice(len(CLASS_NAMES), wanted, p=shares).tolist():
        kind = CLASS_NAMES[number]
        mate = items[-1] if items and items[-1].kind == kind and rng.random() < 0.55 else None
        items += _first_free(_proposals(rng, frame, perches, kind, scale, mate), frame, items, gap)
    decoys = int(rng.choice(4, p=(0.25, 0.4, 0.25, 0.1)))
    for number in rng.integers(len(DECOYS), size=decoys).tolist():
        places = _proposals(rng, frame, perches, DECOYS[number], scale, None)
        items += _first_free(places, frame, items, 0.9)
    return items


def _proposals(
    rng: np.random.Generator,
    frame: Point,
    perches: list[list[_Perch]],
    kind: str,
    scale: float,
    mate: Item | None,
) -> Iterator[Item]:
    """Yield places for one item; at first beside `mate`, when it grows in a cluster."""
    low, high = _RADII[kind]
    for attempt in range(_TRIES):
        radius = rng.uniform(low, high) * scale
        limb = perches[int(rng.integers(len(perches)))]
        perch = limb[int(rng.integers(len(limb)))]
        crowded = mate is not None and attempt < _TRIES // 2
        point = mate.perch if mate is not None and crowded else perch.point
        yield _grown(rng, kind, _Perch(point, perch.angle), radius, frame, crowded)


def _grown(
    rng: np.random.Generator, kind: str, perch: _Perch, radius: float, frame: Point, crowded: bool
) -> Item:
    """Return an item with its middle where its way of growing puts it."""
    x, y = perch.point
    depth, angle = rng.uniform(-1, 1), rng.uniform(0, 2 * pi)
    if kind in ("plum", "ball"):  # hangs
        lean, hang = rng.normal(0, 0.7 if crowded else 0.3), radius * rng.uniform(1.25, 2.0)
        centre = x + hang * sin(lean), y + hang * cos(lean)
        depth = 0.3 + 0.7 * depth
    elif kind == "leaf":  # stands off its twig, and droops
        away = perch.angle + _either(rng, 0.5) * rng.uniform(0.3, 1.3)
        angle = atan2(sin(away) + 0.45, cos(away))
        centre = x + 1.12 * radius * cos(angle), y + 1.12 * radius * sin(angle)
        depth -= 0.2
    elif kind == "butterfly":  # flies
        centre = rng.uniform(0.1, 0.9) * frame[1], rng.uniform(0.1, 0.9) * frame[0]
    elif kind == "blossom":  # sits on a short stalk
        spread = radius * (rng.uniform(0.7, 1.7) if crowded else rng.uniform(0.0, 0.8))
        centre = x + spread * cos(angle), y + spread * sin(angle)
    else:  # sits on the wood
        centre = x, y
    return Item(kind, centre, radius, perch.point, angle, depth)


def _first_free(places: Iterator[Item], frame: Point, items: list[Item], gap: float) -> list[Item]:
    """Return the first place that lies in the frame and not upon others, or nothing."""
    height, width = frame
    for item in places:
        x, y = item.centre
        inside = 0.03 < x < width - 0.03 and 0.03 < y < height - 0.03
        if inside and all(_apart(item, other, gap) for other in items):
            return [item]
    return []


def _apart(item: Item, other: Item, gap: float) -> bool:
    away = hypot(item.centre[0] - other.centre[0], item.centre[1] - other.centre[1])
    return away > gap * (_bulk(item) + _bulk(other))


def _bulk(item: Item) -> float:
    """Return the radius of a disc about as large as the item."""
    return item.radius * (0.62 if item.kind == "leaf" else 1.0)


def _either(rng: np.random.Generator, chance: float) -> int:
    """Return 1 with the given chance, else -1."""
    return 1 if rng.random() < chance else -1
