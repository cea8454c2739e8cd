"""What a page is made of: plain records, which `render` turns into HTML. Texts are not yet escaped.

A block's `kind` names its macro in the template.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup

SLOTS = 8
"""Colours of lines and dots that the style sheet has; further ones begin anew, dashed."""


class MissingError(Exception):
    """A section cannot be made; the text says in one line why. Never leaves this room."""


@dataclass(frozen=True)
class Column:
    """A column's heading.

    Attributes:
        title: Its name.
        numeric: Set to the right.
    """

    title: str
    numeric: bool = False


def columns(*titles: str, numeric: bool = False) -> list[Column]:
    """Return columns of one kind, in order."""
    return [Column(title, numeric) for title in titles]


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: What it says.
        sort: What it is sorted by, when not its text; None sorts last.
        detail: A second, smaller line.
        mood: "good", "bad", or "".
    """

    text: str
    sort: float | str | None = None
    detail: str = ""
    mood: str = ""


@dataclass(frozen=True)
class Table:
    """A table that can be sorted.

    Attributes:
        caption: What it shows.
        columns: Headings; the first column names the rows.
        rows: As many cells as columns, each.
        marked: Numbers of rows that stand out.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    marked: Sequence[int] = ()
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Key:
    """One entry of a legend.

    Attributes:
        name: What it says.
        slot: The colour's number; below 0 it is grey.
        shape: "line", "dashed", "dot", "ring", "bar" or "bar kept".
    """

    name: str
    slot: int
    shape: str = "line"


@dataclass(frozen=True)
class Figure:
    """A drawing.

    Attributes:
        svg: Finished markup.
        caption: What stands under it.
    """

    svg: Markup
    caption: str


@dataclass(frozen=True)
class Figures:
    """Drawings side by side where there is room, under one legend."""

    figures: Sequence[Figure]
    legend: Sequence[Key] = ()
    kind: ClassVar[str] = "figures"


@dataclass(frozen=True)
class Tile:
    """One figure that sums something up."""

    value: str
    label: str
    detail: str = ""
    mood: str = ""


@dataclass(frozen=True)
class Tiles:
    """Figures in a row."""

    tiles: Sequence[Tile]
    kind: ClassVar[str] = "tiles"


@dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "paragraph"


@dataclass(frozen=True)
class Listing:
    """A list with dots."""

    items: Sequence[str]
    kind: ClassVar[str] = "listing"


@dataclass(frozen=True)
class Facts:
    """Names and what they stand for."""

    pairs: Sequence[tuple[str, str]]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Code:
    """Lines of a file, as they are."""

    text: str
    kind: ClassVar[str] = "code"


@dataclass(frozen=True)
class Details:
    """Blocks that are folded away, except in print."""

    summary: str
    blocks: Sequence["Block"]
    kind: ClassVar[str] = "details"


@dataclass(frozen=True)
class Pair:
    """One image as two models see it.

    Attributes:
        title: Name of the image.
        caption: What changed.
        before: Finished markup.
        after: Likewise.
    """

    title: str
    caption: str
    before: Markup
    after: Markup


@dataclass(frozen=True)
class Gallery:
    """Images, before and after side by side; `headings` stand over the two columns."""

    headings: tuple[str, str]
    pairs: Sequence[Pair]
    kind: ClassVar[str] = "gallery"


Block = Table | Figures | Tiles | Paragraph | Listing | Facts | Code | Details | Gallery
