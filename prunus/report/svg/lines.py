"""Curves over a common axis."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from markupsafe import Markup

from prunus.report.blocks import SLOTS
from prunus.report.svg.axes import Mark, Plot, plot, spanning
from prunus.report.svg.elements import WIDTH, drawing, element

T = TypeVar("T")

HEIGHT = 250.0
MOST_POINTS = 160
"""Points of a curve that are drawn: more cannot be told apart at this width."""


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        name: What it is.
        xs: Rising.
        ys: As many.
        slot: Its colour; a number from SLOTS on is dashed. None: grey and thin, in the background.
        dashed: Dashed in any case.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    slot: int | None = 0
    dashed: bool = False


def line_chart(
    title: str,
    lines: Sequence[Line],
    x_name: str,
    y_name: str,
    *,
    mark: Mark | None = None,
    y_range: tuple[float, float] | None = None,
) -> Markup:
    """Return a drawing of curves; `y_range` is that of the values where it is not given."""
    ys = [y for line in lines for y in line.ys] + ([mark.value] if mark else [])
    xs = [x for line in lines for x in line.xs]
    axes = plot(WIDTH, HEIGHT, spanning(xs, pad=0.0), y_range or spanning(ys))
    parts = axes.frame(x_name, y_name)
    above = []
    if mark is not None:
        across, name = axes.mark(mark)
        parts.append(across)
        above.append(name.drawn("marked"))
    for line in sorted(lines, key=lambda line: line.slot is not None):  # grey ones lie below
        parts += _curve(axes, line)
    return drawing(WIDTH, HEIGHT, title, [*parts, *above])


def _curve(axes: Plot, line: Line) -> list[Markup]:
    """Return a curve; a point where it has no second one."""
    xs, ys = thinned(line.xs), thinned(line.ys)
    curve = element(
        "polyline",
        element("title", line.name),
        points=axes.polyline(xs, ys),
        class_=line_class(line.slot, dashed=line.dashed),
    )
    if len(xs) != 1:
        return [curve]
    dot = {"cx": axes.x(xs[0]), "cy": axes.y(ys[0]), "r": 3}
    return [curve, element("circle", class_=f"dot {colour_class(line.slot)}", **dot)]


def colour_class(slot: int | None) -> str:
    """Return the class of a colour."""
    return "quiet" if slot is None else f"c{slot % SLOTS}"


def line_class(slot: int | None, *, dashed: bool = False) -> str:
    """Return the classes of a curve."""
    further = slot is not None and slot >= SLOTS
    return f"line {colour_class(slot)}{' dashed' if dashed or further else ''}"


def thinned(values: Sequence[T], most: int = MOST_POINTS) -> list[T]:
    """Return at most so many values, evenly spaced, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    step = (len(values) - 1) / (most - 1)
    return [values[round(place * step)] for place in range(most)]
