"""What is wrong with one file or line of a data set, and what was done about it."""

from dataclasses import dataclass, replace
from pathlib import Path

from prunus.core.errors import DataError, printable
from prunus.data.rules import RULES, Effect

FORMULA_STARTS = ("=", "+", "-", "@")
"""A cell that begins so is run by spreadsheets (OWASP, "CSV Injection")."""


@dataclass(frozen=True)
class Problem:
    """One finding. `str()` gives the line to print, with control characters escaped.

    Attributes:
        file: The image or label file; relative to the data set's folder where it lies inside.
        line: Line number in the file, from 1, or None when it is about the whole file.
        message: What it was, and what was done about it.
        rule: Key of `prunus.data.rules.RULES`.
    """

    file: Path
    line: int | None
    message: str
    rule: str

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"no rule '{self.rule}' in prunus.data.rules.RULES")

    def __str__(self) -> str:
        return printable(f"{self.where}: {self.message}")

    @property
    def where(self) -> str:
        """Return the file, and the line if there is one."""
        return str(self.file) if self.line is None else f"{self.file}:{self.line}"

    @property
    def effect(self) -> Effect:
        """Return what becomes of the box or image."""
        return RULES[self.rule].effect

    def relative_to(self, root: Path) -> "Problem":
        """Return the same finding with the file named relative to `root`, if it lies inside."""
        return (
            replace(self, file=self.file.relative_to(root))
            if self.file.is_relative_to(root)
            else self
        )


class RuleError(DataError):
    """A whole image or label file is of no use.

    Attributes:
        rule: Key of `prunus.data.rules.RULES`.
    """

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


def cell(text: str) -> str:
    """Return text for one cell of a CSV: printable, and never a formula to a spreadsheet."""
    text = printable(text)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def markdown(text: str) -> str:
    """Return text that Markdown shows as it is: no table bars, no tags, no links."""
    text = printable(text).replace("\\", "\\\\")
    for letter, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(letter, escaped)
    return "".join(f"\\{letter}" if letter in "|`*_[]!#" else letter for letter in text)
