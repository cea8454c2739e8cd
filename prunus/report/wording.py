"""Figures as they are written in a report. A dash stands for what was not measured."""

from prunus.report.values import Interval

NONE = "–"
MINUTE_S, HOUR_S = 60, 3600


def share(value: float | None) -> str:
    """Return an accuracy, 0 to 1, with three digits."""
    return NONE if value is None else f"{value:.3f}"


def between(found: Interval | None) -> str:
    """Return an interval of accuracies; "" without one."""
    return "" if found is None else f"{found[0]:.3f} to {found[1]:.3f}"


def points(value: float | None) -> str:
    """Return a change of an accuracy, in points (hundredths), with its sign."""
    return NONE if value is None else signed(value * 100, 1)


def signed(value: float, digits: int) -> str:
    """Return a number with + or a true minus; what rounds to 0 has no sign."""
    rounded = round(value, digits)
    if rounded == 0:
        return f"{0:.{digits}f}"
    return f"{'+' if rounded > 0 else '−'}{abs(rounded):.{digits}f}"


def times(value: float | None) -> str:
    """Return a factor."""
    return NONE if value is None else f"{value:.2f}×"


def decimal(value: float | None, digits: int = 2) -> str:
    """Return a number with so many digits."""
    if value is None:
        return NONE
    rounded = round(value, digits) or 0.0  # no -0.00
    return f"{rounded:,.{digits}f}".replace("-", "−")


def count(value: float | None) -> str:
    """Return a whole number, in groups of three digits."""
    return NONE if value is None else f"{value:,.0f}"


def gflops(value: float | None) -> str:
    """Return operations; "" without them."""
    return "" if value is None else f"{decimal(value)} GFLOPs"


def percent(value: float | None) -> str:
    """Return a share in per cent, with its sign."""
    return NONE if value is None else f"{signed(value * 100, 0)} %"


def plural(value: float, word: str) -> str:
    """Return a number with its word: 1 point, 2 points."""
    return f"{value:g} {word}{'' if value == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """Return a time in the units that suit it."""
    if seconds is None:
        return NONE
    if seconds < MINUTE_S:
        return f"{seconds:.1f} s"
    if seconds < HOUR_S:
        return f"{int(seconds // MINUTE_S)} min {int(seconds % MINUTE_S)} s"
    return f"{int(seconds // HOUR_S)} h {int(seconds % HOUR_S // MINUTE_S)} min"
