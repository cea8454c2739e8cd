"""How people write several values in one word: 0.5,0.7 and 0.3:0.9:0.1."""

import math
from collections.abc import Iterator
from typing import Annotated

from pydantic import BeforeValidator

MOST_VALUES = 1000
"""Of one range: more is a slip of the pen."""
DUST = 1e-6
"""In steps: how far beyond the end the last value may lie, and count as the end."""
DIGITS = 10


def read_words(value: object) -> object:
    """Read `a,b` as ("a", "b"); a sequence of such words is put together."""
    words = [word.strip() for part in _parts(value) for word in str(part).split(",")]
    return tuple(word for word in words if word)


def read_numbers(value: object) -> object:
    """Read comma lists and ranges; a sequence of such words is put together.

    Raises:
        ValueError: A word is no number, or a range is empty.
    """
    return tuple(number for part in _parts(value) for number in _numbers(part))


def read_range(text: str) -> tuple[float, ...]:
    """Read `first:last:step`, both ends included; last is left out where no step meets it.

    Raises:
        ValueError: It is no range, is empty or has no end.
    """
    parts = [_number(part, text) for part in text.split(":")]
    if len(parts) != 3:
        raise ValueError(f"'{text}' is no range. Write first:last:step, such as 0.3:0.9:0.1.")
    first, last, step = parts
    if step <= 0 or last < first:
        raise ValueError(
            f"'{text}' is empty. Write first:last:step with the smaller end first and a step "
            "above 0, such as 0.3:0.9:0.1."
        )
    if (last - first) / step >= MOST_VALUES:
        raise ValueError(f"'{text}' has more than {MOST_VALUES} values. Take a larger step.")
    count = math.floor((last - first) / step + DUST) + 1
    return tuple(round(first + index * step, DIGITS) for index in range(count))


def _parts(value: object) -> list[object]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _numbers(part: object) -> Iterator[float]:
    if isinstance(part, int | float) and not isinstance(part, bool):
        yield _number(str(part), str(part))
        return
    for word in str(part).split(","):
        if ":" in word:
            yield from read_range(word.strip())
        elif word.strip():
            yield _number(word, word.strip())


def _number(word: str, text: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"'{text}' is no number, list or range such as 0.5,0.7 or 0.3:0.9:0.1.")
    return number


Words = Annotated[tuple[str, ...], BeforeValidator(read_words)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(read_numbers)]
