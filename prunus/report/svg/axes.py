"""Axes: from values to units of the drawing, with ticks at round numbers."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from prunus.report.svg.elements import element, label
from prunus.report.svg.texts import Text

LEFT, RIGHT, TOP, BOTTOM = 46.0, 14.0, 14.0, 42.0
"""Margins of a plot, in units: room for tick labels and the axes' names."""
TICKS = 5
WIDE_RANGE = 12
"""From this ratio of the largest to the smallest value on, an axis may be logarithmic."""


@dataclass(frozen=True)
class Scale:
    """One axis.

    Attributes:
        low: Smallest value.
        high: Largest.
        start: Units where the smallest lies ...
        end: ... and the largest.
        logarithmic: Whether equal ratios are equally far apart.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return where a value lies; values beyond the ends lie at the ends."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return round values within the axis."""
        if self.logarithmic:
            return _log_ticks(self.low, self.high)
        step = round_step((self.high - self.low) / TICKS)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def round_step(rough: float) -> float:
    """Return 1, 2 or 5 times a power of ten, no smaller than `rough`; 1 for 0."""
    if rough <= 0 or not math.isfinite(rough):
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def spanning(
    values: Iterable[float], *, zero: bool = False, pad: float = 0.06
) -> tuple[float, float]:
    """Return the ends of an axis that holds all values.

    Args:
        values: Finite; none gives 0 to 1.
        zero: Whether 0 must be on it.
        pad: Share of the range that is added on both sides, not beyond 0.
    """
    known = [*values, *([0.0] if zero else [])]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    room = (high - low) * pad or abs(high) * 0.1 or 0.5
    below = low if zero and low == 0 else low - room
    return (max(below, 0.0) if low >= 0 else below), high + room


def ruler(scale: Scale, x_name: str, top: float, bottom: float) -> list[Markup]:
    """Return grid lines from top to bottom at the ticks of a lying axis, their labels, its name."""
    parts = [label(x_name, scale.end, bottom + 31, anchor="end", name="name")]
    for value in scale.ticks():
        at = scale(value)
        parts.append(element("line", x1=at, x2=at, y1=top, y2=bottom, class_="grid"))
        parts.append(label(tick_text(value, scale), at, bottom + 15, anchor="middle"))
    return parts


@dataclass(frozen=True)
class Mark:
    """A straight line across the plot, at a height of the y axis, with its name."""

    value: float
    name: str


@dataclass(frozen=True)
class Plot:
    """Two axes and their frame."""

    x: Scale
    y: Scale

    def frame(self, x_name: str, y_name: str) -> list[Markup]:
        """Return grid lines, tick labels and the axes' names."""
        left, right, bottom = self.x.start, self.x.end, self.y.start
        parts = []
        for value in self.y.ticks():
            at = self.y(value)
            parts.append(element("line", x1=left, x2=right, y1=at, y2=at, class_="grid"))
            parts.append(label(tick_text(value, self.y), left - 6, at + 4, anchor="end"))
        for value in self.x.ticks():
            at = self.x(value)
            parts.append(element("line", x1=at, x2=at, y1=bottom, y2=bottom + 4, class_="axis"))
            parts.append(label(tick_text(value, self.x), at, bottom + 17, anchor="middle"))
        parts.append(element("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="axis"))
        parts.append(label(x_name, right, bottom + 34, anchor="end", name="name"))
        parts.append(label(y_name, 2, 11, name="name"))
        return parts

    def mark(self, mark: Mark) -> tuple[Markup, Text]:
        """Return a mark's line, and its name, which stands above it."""
        left, right, at = self.x.start, self.x.end, self.y(mark.value)
        line = element("line", x1=left, x2=right, y1=at, y2=at, class_="mark")
        return line, Text(mark.name, right, at - 5, "end")

    def polyline(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        """Return the points of a line."""
        return " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in zip(xs, ys, strict=True))


def plot(
    width: float,
    height: float,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    *,
    log_x: bool = False,
) -> Plot:
    """Return axes within a drawing of this size, room left for labels and names."""
    return Plot(
        Scale(*x_range, LEFT, width - RIGHT, log_x),
        Scale(*y_range, height - BOTTOM, TOP + 10),
    )


def tick_text(value: float, scale: Scale) -> str:
    """Return a tick's label, with as many digits as tell it from its neighbours."""
    if scale.logarithmic:
        return f"{value:g}"
    step = round_step((scale.high - scale.low) / TICKS)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{digits}f}".replace("-", "−")


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    return [value for value in every if low <= value <= high]
