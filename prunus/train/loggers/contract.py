"""What a logger is told of a run, and what it must be able to do."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple, Protocol
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from prunus.core.errors import PrunusError
from prunus.core.files import write_text

Scalars = Mapping[str, float]
Histograms = Mapping[str, NDArray[np.float32]]
IDENTITY = "tracked_as.txt"
LONGEST = 400
"""Characters of a tracker's own words that are passed on: some give whole SQL statements."""


class RunFacts(NamedTuple):
    """What a logger may want to know of a run.

    Attributes:
        folder: Its run folder.
        first_epoch: From 0; what was told of it and of later ones is void.
        settings: As they were resolved; JSON-ready.
        resumed: Whether an earlier sitting may have told something.
        identity: What trackers know the training by; `open_loggers` fills it in.
    """

    folder: Path
    first_epoch: int
    settings: Mapping[str, object]
    resumed: bool = False
    identity: str = ""


class Logger(Protocol):
    """Writes numbers somewhere. Raises OSError or PrunusError when it cannot."""

    def add_scalars(self, values: Scalars, epoch: int) -> None: ...
    def add_histograms(self, values: Histograms, epoch: int) -> None: ...
    def close(self, complete: bool) -> None: ...


def with_identity(facts: RunFacts) -> RunFacts:
    """Return facts with 16 hexadecimal digits, which are kept in the run folder.

    A new training in the same folder is another one; a folder that was moved is the same.

    Raises:
        PrunusError: It cannot be written.
    """
    path = facts.folder / IDENTITY
    if facts.resumed and path.is_file():
        return facts._replace(identity=path.read_text(encoding="utf-8").strip())
    drawn = uuid4().hex[:16]
    write_text(path, f"{drawn}\n")
    return facts._replace(identity=drawn)


def flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return nested settings as one level, such as `hyp.lr0`."""
    found: dict[str, object] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


@contextmanager
def refusals(name: str, advice: str) -> Iterator[None]:
    """Turn whatever a tracker raises, each of its own kind, into one line.

    Args:
        name: Of the tracker.
        advice: What to do; a sentence.

    Raises:
        PrunusError: Something was raised.
    """
    try:
        yield
    except Exception as error:
        said = shorten(str(error), LONGEST, placeholder=" …").rstrip(".") or type(error).__name__
        raise PrunusError(f"--loggers {name}: {said}. {advice}") from error
