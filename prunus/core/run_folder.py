"""Which folder a run gets: never one that holds something, unless a start that came to nothing
left it.
"""

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prunus.core.errors import ConfigError

CONFIG, LOG = "config.yaml", "log.txt"
TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}(\.\w+)?")
"""Names of what `files.write_atomically` fills; one that was killed leaves it behind."""


@dataclass(frozen=True)
class Place:
    """A run's folder, as its start found it.

    Attributes:
        folder: Where.
        before: Names of what was there; None where there was no folder.
    """

    folder: Path
    before: frozenset[str] | None

    def leave_as_found(self, drafts: Collection[str]) -> None:
        """Remove what the start has written, but nothing when there is more than that.

        Args:
            drafts: As for `only_begun`.
        """
        with suppress(OSError):
            new = _names(self.folder) - (self.before or frozenset())
            if not new <= {CONFIG, LOG, *drafts}:
                return
            for name in new:
                (self.folder / name).unlink()
            if self.before is None:
                self.folder.rmdir()


def only_begun(folder: Path, drafts: Collection[str] = ()) -> bool:
    """Return whether a run folder holds what every start writes, and nothing that came of it.

    Args:
        folder: A run folder, or what may be one.
        drafts: Names of what the verb writes anew at each start, besides settings and log.
    """
    if not (folder / CONFIG).is_file():
        return False
    return _lasting(_names(folder)) <= {CONFIG, LOG, *drafts}


def exactly(folder: Path, content: bytes, drafts: Collection[str], *, exist_ok: bool) -> Place:
    """Make this folder, or take it when nothing in it can be lost.

    Args:
        folder: Where to.
        content: Of the run's CONFIG. Where the same start was killed before it came to anything,
            it may be made again: what it left is written anew, and its log grows.
        drafts: As for `only_begun`.
        exist_ok: Take it whatever it holds.

    Raises:
        ConfigError: It holds something.
        OSError: It cannot be made or read.
    """
    before = _names(folder) if folder.is_dir() else None
    if before and _lasting(before) and not exist_ok:
        same = only_begun(folder, drafts) and (folder / CONFIG).read_bytes() == content
        if not same:
            raise ConfigError(
                f"--out: {folder} is not empty. Choose another folder, or add --exist-ok."
            )
    folder.mkdir(parents=True, exist_ok=True)
    return Place(folder, before)


def next_free(parent: Path, name: str, *, exist_ok: bool) -> Place:
    """Make the first of NAME, NAME2, NAME3 … that does not exist; `mkdir` decides any race.

    Raises:
        OSError: It cannot be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}{number}")
        before = _names(folder) if exist_ok and folder.is_dir() else None
        try:
            folder.mkdir(exist_ok=exist_ok)
        except FileExistsError:
            number += 1
        else:
            return Place(folder, before)


def _names(folder: Path) -> frozenset[str]:
    return frozenset(path.name for path in folder.iterdir())


def _lasting(names: frozenset[str]) -> set[str]:
    return {name for name in names if not TEMPORARY.fullmatch(name)}
