"""Two dots with their intervals a row: a figure of each class before and after."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from prunus.report.svg.axes import Scale, ruler, spanning
from prunus.report.svg.elements import WIDTH, drawing, element, label, shortened
from prunus.report.values import Interval

ROW = 30.0
NAME, FOOT = 96.0, 36.0


@dataclass(frozen=True)
class Side:
    """A figure and its interval."""

    value: float
    spread: Interval | None = None


@dataclass(frozen=True)
class Dumbbell:
    """One row."""

    name: str
    before: Side
    after: Side


def dumbbell_chart(title: str, rows: Sequence[Dumbbell], x_name: str) -> Markup:
    """Return a drawing of rows; before in grey above, after in the accent's colour below."""
    values = [
        value
        for row in rows
        for side in (row.before, row.after)
        for value in (side.value, *(side.spread or ()))
    ]
    bottom = len(rows) * ROW + 6
    scale = Scale(*spanning(values), NAME, WIDTH - 14)
    parts = ruler(scale, x_name, 2, bottom)
    for number, row in enumerate(rows):
        middle = number * ROW + ROW / 2 + 3
        parts.append(label(shortened(row.name, NAME - 4), NAME - 8, middle + 4, anchor="end"))
        parts += _side(scale, row.before, middle - 5, "quiet", f"{row.name}, before")
        parts += _side(scale, row.after, middle + 5, "c0", f"{row.name}, after")
    return drawing(WIDTH, bottom + FOOT, title, parts)


def _side(scale: Scale, side: Side, y: float, colour: str, name: str) -> list[Markup]:
    parts = []
    if side.spread is not None:
        low, high = side.spread
        ends = {"x1": scale(low), "x2": scale(high), "y1": y, "y2": y}
        parts.append(element("line", class_=f"whisker {colour}", **ends))
    title = element("title", f"{name}: {side.value:.3f}")
    place = {"cx": scale(side.value), "cy": y, "r": 4}
    return [*parts, element("circle", title, class_=f"dot {colour}", **place)]
