"""A text file that grows line by line, under another name until it is complete."""

from pathlib import Path
from typing import TextIO

from prunus.core.errors import PrunusError

UNFINISHED = ".part"
"""Added to the name. Each line is on the disk before the next: `tail -f` may follow it."""


class LineFile:
    """Opens `path` + UNFINISHED at the first line; `close` renames it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unfinished = path.with_name(path.name + UNFINISHED)
        self._file: TextIO | None = None

    def write(self, lines: str) -> None:
        """Add whole lines; none is as good as any, for the file to be there.

        Raises:
            PrunusError: The disk is full, or the folder cannot be written.
        """
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                # A name that is no Unicode becomes \\udcXX, which JSON reads as the same name.
                self._file = self._unfinished.open(
                    "w", encoding="utf-8", errors="backslashreplace", newline="", buffering=1
                )
            self._file.write(lines)
        except OSError as error:
            raise self._problem(error) from error

    def close(self) -> None:
        """Give the file its name. Does nothing if nothing was written."""
        if self._file is None:
            return
        try:
            self._file.close()
            self._unfinished.replace(self.path)
        except OSError as error:
            raise self._problem(error) from error
        finally:
            self._file = None

    def _problem(self, error: OSError) -> PrunusError:
        return PrunusError(
            f"{self.path}: not written: {error.strerror or error}. "
            "Free space, or choose another place with --out."
        )
