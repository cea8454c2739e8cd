"""Values of files that somebody else may have written: taken as what they should be, or left out.

No function here raises: a report is made from what is there.
"""

import math
from collections.abc import Mapping
from typing import Any

from prunus.core.errors import printable

Record = Mapping[str, Any]
Interval = tuple[float, float]

LONGEST = 300
"""Letters of a text that are shown; longer ones end in an ellipsis."""


def record(value: object) -> Record:
    """Return a mapping as it is, and {} for anything else."""
    return value if isinstance(value, dict) else {}


def records(value: object) -> list[Record]:
    """Return the mappings of a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def number(value: object) -> float | None:
    """Return a finite number, and None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def numbers(value: object) -> list[float]:
    """Return the finite numbers of a list."""
    found = [number(item) for item in value] if isinstance(value, list) else []
    return [item for item in found if item is not None]


def whole(value: object) -> int | None:
    """Return a number that has no fraction, and None for anything else."""
    found = number(value)
    return None if found is None or found != int(found) else int(found)


def text(value: object, most: int = LONGEST) -> str:
    """Return one line without control characters; "" for None."""
    if value is None:
        return ""
    line = value if isinstance(value, str) else str(value)
    if not line.isprintable():
        line = printable(line)
    return line if len(line) <= most else line[: most - 1] + "…"


def texts(value: object) -> list[str]:
    """Return the texts of a list."""
    return [text(item) for item in value] if isinstance(value, list) else []


def interval(value: object) -> Interval | None:
    """Return two rising finite numbers, and None for anything else."""
    found = numbers(value)
    return (found[0], found[1]) if len(found) == 2 and found[0] <= found[1] else None
