"""What is wrong with one file or line of a data set, and what was done about it."""

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """One finding. `str()` gives the line to print, with control characters escaped.

    Attributes:
        file: The image or label file; relative to the data set's folder where it lies inside.
        line: Line number in the file, from 1, or None when it is about the whole file.
        message: What it was, and what was done about it.
    """

    file: Path
    line: int | None
    message: str

    def __str__(self) -> str:
        where = str(self.file) if self.line is None else f"{self.file}:{self.line}"
        return printable(f"{where}: {self.message}")

    def relative_to(self, root: Path) -> "Problem":
        """Return the same finding with the file named relative to `root`, if it lies inside."""
        return (
            replace(self, file=self.file.relative_to(root))
            if self.file.is_relative_to(root)
            else self
        )


def printable(text: str) -> str:
    """Escape control characters: a hostile file name must not move the cursor or break a line."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
