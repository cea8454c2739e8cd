"""Dots with names: accuracy over milliseconds, and the front of those that none beats in both."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from prunus.report.svg.axes import WIDE_RANGE, Mark, Plot, plot, spanning
from prunus.report.svg.elements import WIDTH, drawing, element, shortened
from prunus.report.svg.lines import colour_class
from prunus.report.svg.texts import Space, Text, first_free
from prunus.report.values import Interval

HEIGHT = 300.0
DOT = 5.0
NAME_WIDTH = 150.0
SHIFTS = (0.0, -13.0, 14.0, 28.0, -26.0)
"""Where a name may stand, below the height of its dot; the first free place counts."""


@dataclass(frozen=True)
class Dot:
    """One dot.

    Attributes:
        name: What it is.
        x: Where it lies.
        y: Likewise.
        spread: 95 % interval of y.
        slot: Its colour.
        hollow: Drawn as a ring.
    """

    name: str
    x: float
    y: float
    spread: Interval | None = None
    slot: int | None = 0
    hollow: bool = False


def scatter_chart(
    title: str,
    dots: Sequence[Dot],
    x_name: str,
    y_name: str,
    *,
    front: bool = True,
    mark: Mark | None = None,
) -> Markup:
    """Return a drawing of dots; `front` joins those that are left of and above all others."""
    values = [y for dot in dots for y in (dot.y, *(dot.spread or ()))]
    values += [mark.value] if mark else []
    xs = [dot.x for dot in dots]
    wide = min(xs, default=0) > 0 and max(xs, default=0) > WIDE_RANGE * min(xs)
    ends = (min(xs) * 0.8, max(xs) * 1.25) if wide else spanning(xs, zero=True, pad=0.14)
    axes = plot(WIDTH, HEIGHT, ends, spanning(values, pad=0.1), log_x=wide)
    parts = axes.frame(x_name, y_name)
    taken = [_around(axes, dot) for dot in dots]
    if mark is not None:
        across, name = axes.mark(mark)
        parts += [across, name.drawn("marked")]
        taken.append(name.space)
    best = pareto(dots) if front else []
    if len(best) > 1:
        parts.append(element("polyline", points=_steps(axes, best), class_="front"))
    parts += [_bar(axes, dot) for dot in dots if dot.spread is not None]
    parts += [_dot(axes, dot) for dot in dots]
    parts += _names(axes, sorted(dots, key=lambda dot: (dot not in best, -dot.y)), taken)
    return drawing(WIDTH, HEIGHT, title, parts)


def pareto(dots: Sequence[Dot]) -> list[Dot]:
    """Return the dots that no other is left of and above, from left to right."""
    best: list[Dot] = []
    for dot in sorted(dots, key=lambda dot: (dot.x, -dot.y)):
        if not best or dot.y > best[-1].y:
            best.append(dot)
    return best


def front_words(dots: Sequence[Dot]) -> str:
    """Return what a caption says of the dashed line; "" where there is none."""
    return " Dashed: the front." if len(pareto(dots)) > 1 else ""


def _steps(axes: Plot, best: Sequence[Dot]) -> str:
    """Return a staircase: from each dot to the right, then up to the next."""
    corners = [(best[0].x, best[0].y)]
    for before, after in pairwise(best):
        corners += [(after.x, before.y), (after.x, after.y)]
    xs, ys = zip(*corners, strict=True)
    return axes.polyline(xs, ys)


def _bar(axes: Plot, dot: Dot) -> Markup:
    low, high = dot.spread or (dot.y, dot.y)
    at = axes.x(dot.x)
    ends = {"x1": at, "x2": at, "y1": axes.y(low), "y2": axes.y(high)}
    return element("line", class_=f"whisker {colour_class(dot.slot)}", **ends)


def _dot(axes: Plot, dot: Dot) -> Markup:
    look = "ring" if dot.hollow else "dot"
    return element(
        "circle",
        element("title", f"{dot.name}: {dot.x:.4g}, {dot.y:.4g}"),
        cx=axes.x(dot.x),
        cy=axes.y(dot.y),
        r=DOT,
        class_=f"{look} {colour_class(dot.slot)}",
    )


def _names(axes: Plot, dots: Sequence[Dot], taken: list[Space]) -> list[Markup]:
    """Write names beside their dots where nothing else is; a name without room is left out."""
    parts = []
    for dot in dots:
        text = first_free(_places(axes, dot), taken, WIDTH, HEIGHT)
        if text is not None:
            taken.append(text.space)
            parts.append(text.drawn("dotname"))
    return parts


def _places(axes: Plot, dot: Dot) -> list[Text]:
    """Return where a name may stand, the best first: right of the dot, left, higher, lower."""
    words, x, y = shortened(dot.name, NAME_WIDTH), axes.x(dot.x), axes.y(dot.y)
    sides = ((x + DOT + 4, "start"), (x - DOT - 4, "end"))
    return [Text(words, at, y + 4 + shift, anchor) for shift in SHIFTS for at, anchor in sides]


def _around(axes: Plot, dot: Dot) -> Space:
    x, y = axes.x(dot.x), axes.y(dot.y)
    return x - DOT, y - DOT, x + DOT, y + DOT
