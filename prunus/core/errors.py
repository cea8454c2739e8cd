"""Errors that a user can cause and mend. Each message is one line: where, what it was, what to do.

The command line prints a `PrunusError` as that one line and exits with its status; every other
exception is a bug of ours and keeps its traceback.
"""

from collections.abc import Iterable


class PrunusError(Exception):
    """Something that the user can put right.

    Attributes:
        status: What the command line exits with.
    """

    status = 2


class ConfigError(PrunusError):
    """A setting is unknown, has the wrong type or breaks a rule."""


class DataError(PrunusError):
    """A data set, image or label cannot be used."""


class WeightsError(PrunusError):
    """A weights file is unsafe, damaged or of the wrong kind."""


class ModelError(PrunusError):
    """An architecture cannot be built, or tensors do not fit it."""


class TrainingError(PrunusError):
    """A training cannot start, cannot work, or went wrong."""


class PruningError(PrunusError):
    """A cut cannot be made, or would remove nothing."""


class ExportError(PrunusError):
    """A runtime file cannot be written, opened or trusted."""


class ParityError(ExportError):
    """An exported file does not compute what its detector does: a check that failed."""

    status = 1


def suggest(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest known word, or "" when none is near."""
    import difflib  # late: 5 ms that --help need not pay

    near = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def printable(text: str) -> str:
    """Escape control characters: a hostile file name must not move the cursor or break a line."""
    return "".join(
        letter
        if letter.isprintable()
        else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in text
    )
