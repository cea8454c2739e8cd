"""The outline of a page: its verdict, its sections, and why a section shows nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from prunus.report.blocks import Block, MissingError


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        name: Of its address in the page: letters and hyphens.
        title: Its heading.
        blocks: What it shows.
        missing: Why it shows nothing; "" when it does.
    """

    name: str
    title: str
    blocks: Sequence[Block] = ()
    missing: str = ""


@dataclass(frozen=True)
class Verdict:
    """The sentence that a page begins with.

    Attributes:
        sentence: It.
        label: It in two or three words; "" for none.
        mood: "good", "bad", or "".
    """

    sentence: str
    label: str = ""
    mood: str = ""


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title: Its heading.
        subtitle: A line under it.
        verdict: What it comes to.
        lead: Blocks before the first section.
        sections: The rest.
        defs: Markup that drawings refer to.
    """

    title: str
    subtitle: str
    verdict: Verdict
    lead: Sequence[Block] = ()
    sections: Sequence[Section] = ()
    defs: Sequence[Markup] = ()


def section(name: str, title: str, make: Callable[[], Sequence[Block]]) -> Section:
    """Return a section, or why there is none."""
    try:
        return Section(name, title, make())
    except MissingError as missing:
        return Section(name, title, missing=str(missing))
