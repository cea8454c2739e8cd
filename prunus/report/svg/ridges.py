"""Histograms over time: one hill an epoch, the first at the back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from prunus.report.svg.axes import Scale, ruler
from prunus.report.svg.elements import WIDTH, drawing, element, label

ROW, HILL, LEFT, FOOT = 22.0, 52.0, 58.0, 38.0
"""Units from hill to hill, of the highest hill, for the names, and for the axis."""


@dataclass(frozen=True)
class Hill:
    """One histogram.

    Attributes:
        name: Of its epoch.
        counts: In equal bins from 0 to the drawing's `most`.
    """

    name: str
    counts: Sequence[float]


def ridge_chart(title: str, hills: Sequence[Hill], most: float, x_name: str) -> Markup:
    """Return a drawing; heights are square roots of counts, so that small ones are seen too."""
    bottom = HILL + len(hills) * ROW
    scale = Scale(0.0, most, LEFT, WIDTH - 12)
    highest = max((count for hill in hills for count in hill.counts), default=0.0)
    parts = ruler(scale, x_name, 10, bottom)
    for number, hill in enumerate(hills):
        base = HILL + number * ROW + ROW - 6
        parts.append(element("path", d=_outline(hill, base, scale, highest), class_="hill"))
        parts.append(label(hill.name, LEFT - 8, base, anchor="end"))
    return drawing(WIDTH, bottom + FOOT, title, parts)


def _outline(hill: Hill, base: float, scale: Scale, highest: float) -> str:
    width = (scale.end - scale.start) / max(len(hill.counts), 1)
    heights = [HILL * math.sqrt(count / highest) if highest else 0.0 for count in hill.counts]
    points = [
        f"{scale.start + (place + 0.5) * width:.1f},{base - height:.1f}"
        for place, height in enumerate(heights)
    ]
    if heights:  # the first bin begins at 0, where pruned channels gather
        points = [f"{scale.start:.1f},{base - heights[0]:.1f}", *points]
    return f"M{scale.start:.1f},{base:.1f}L{' '.join(points)} {scale.end:.1f},{base:.1f}"
