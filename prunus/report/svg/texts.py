"""Texts that find a place where nothing else is drawn."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from prunus.report.svg.elements import LETTER, label

ASCENT, DESCENT = 11.0, 2.0
"""Units that letters reach above and below their line."""

Space = tuple[float, float, float, float]
"""Left, top, right and bottom of what is drawn."""


@dataclass(frozen=True)
class Text:
    """A text at a place.

    Attributes:
        words: What it says.
        x: Where it starts, or ends.
        y: The line that it stands on.
        anchor: "start" or "end", which of them lies at x.
        letter: Mean width of its letters.
    """

    words: str
    x: float
    y: float
    anchor: str = "start"
    letter: float = LETTER

    @property
    def space(self) -> Space:
        """Return what it covers."""
        width = len(self.words) * self.letter
        left = self.x if self.anchor == "start" else self.x - width
        return left, self.y - ASCENT, left + width, self.y + DESCENT

    def drawn(self, name: str) -> Markup:
        """Return it, `name` being its class."""
        return label(self.words, self.x, self.y, anchor=self.anchor, name=name)


def first_free(
    places: Iterable[Text], taken: Sequence[Space], width: float, height: float
) -> Text | None:
    """Return the first that lies within the drawing and covers nothing; None where none does."""
    for text in places:
        left, top, right, bottom = text.space
        inside = left >= 0 and top >= 0 and right <= width and bottom <= height
        if inside and not any(meet(text.space, other) for other in taken):
            return text
    return None


def meet(one: Space, other: Space) -> bool:
    """Return whether two spaces share any area."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
