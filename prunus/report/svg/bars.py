"""Bars, one under the other: what each layer had, and what it has kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from prunus.report.svg.elements import WIDTH, drawing, element, label, shortened

ROW = 18.0
NAME, NUMBERS = 150.0, 82.0
"""Units for the names on the left and the numbers on the right."""


@dataclass(frozen=True)
class Bar:
    """One row: a name, and two counts."""

    name: str
    before: int
    after: int


def bar_chart(title: str, bars: Sequence[Bar], *, most: int) -> Markup:
    """Return a drawing of rows; a bar of `most` has the whole width."""
    room = WIDTH - NAME - NUMBERS
    parts = []
    for number, bar in enumerate(bars):
        top = number * ROW + 2
        for value, name in ((bar.before, "bar"), (bar.after, "bar kept")):
            width = max(room * value / max(most, 1), 1.0 if value else 0.0)
            size = {"x": NAME, "y": top + 3, "width": width, "height": ROW - 7}
            parts.append(element("rect", class_=name, **size))
        parts.append(label(shortened(bar.name, NAME), NAME - 6, top + 13, anchor="end"))
        changed = bar.after != bar.before
        words = f"{bar.before} → {bar.after}" if changed else f"{bar.before}"
        name = "" if changed else "faint"
        parts.append(label(words, WIDTH - 2, top + 13, anchor="end", name=name))
    return drawing(WIDTH, len(bars) * ROW + 4, title, parts)
