"""How people write how much becomes zero: a share such as 0.3 or 30, or a pattern such as 2:4."""

import re
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BeforeValidator

WRITTEN = re.compile(r"\s*(\d+)\s*:\s*(\d+)\s*")
YAML_BASE = 60
"""YAML reads an unquoted 2:4 as a number to the base 60, as if it were two minutes four."""


def as_share(value: object) -> object:
    """Read 50 as .5: people say per cent."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value
    return number / 100 if 1 < number < 100 else number


class Pattern(NamedTuple):
    """Of every `group` consecutive weights, at most `kept` differ from zero."""

    kept: int
    group: int

    def __str__(self) -> str:
        return f"{self.kept}:{self.group}"

    @property
    def zeros(self) -> float:
        """Return the share of zeros that the pattern demands."""
        return 1 - self.kept / self.group

    @property
    def fits_2_of_4(self) -> bool:
        """Return whether weights of this pattern always fulfil 2:4 as well, as those of 1:4 do."""
        if self.group % 4 == 0:
            return self.kept <= 2
        return self == (1, 2)


def read_pattern(text: str) -> Pattern:
    """Read `N:M`.

    Raises:
        ValueError: It is no pattern, or keeps all or none.
    """
    match = WRITTEN.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is no pattern. Write 2:4 to keep 2 of every 4 weights.")
    pattern = Pattern(int(match[1]), int(match[2]))
    if not 0 < pattern.kept < pattern.group:
        raise ValueError(
            f"{pattern}: N must be at least 1 and smaller than M. 2:4 keeps 2 of every 4 weights."
        )
    return pattern


def _as_text(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        minutes, seconds = divmod(value, YAML_BASE)
        return f"{minutes}:{seconds}"
    return value


Share = Annotated[float, BeforeValidator(as_share)]
PatternText = Annotated[
    str, BeforeValidator(_as_text), AfterValidator(lambda text: str(read_pattern(text)))
]
"""A pattern as settings hold it: JSON-ready, and read with `read_pattern`."""
