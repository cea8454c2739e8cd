"""A photograph with boxes over it. Its pixels stand in the page once, however often it is shown."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from prunus.report.svg.elements import LETTER, drawing, element
from prunus.report.svg.texts import Space, Text, first_free

TEXT_PX, BOLD = 13.0, 1.35
"""Size of the tags, and how much wider than usual their letters are."""


@dataclass(frozen=True)
class Box:
    """One box.

    Attributes:
        left: In pixels of the picture as it is shown.
        top: Likewise, as the next two.
        right: See above.
        bottom: See above.
        look: Class of the style sheet: "hit", "lost", "gained" or "false".
        title: What it is, for who points at it.
        tag: What is written on the picture; "" for nothing.
    """

    left: float
    top: float
    right: float
    bottom: float
    look: str
    title: str
    tag: str = ""


def photo_def(name: str, size_wh: tuple[int, int], address: str) -> Markup:
    """Return the picture's pixels, to be put into the page's `defs`.

    Args:
        name: By which `photo` finds it.
        size_wh: Pixels.
        address: A `data:` URI.
    """
    width, height = size_wh
    return element("image", id=name, width=width, height=height, href=address)


def photo(name: str, size_wh: tuple[int, int], boxes: Sequence[Box], title: str) -> Markup:
    """Return the picture of that name with its boxes; the last ones lie on top."""
    width, height = size_wh
    parts = [element("use", href=f"#{name}")]
    for box in boxes:
        shape = {"x": box.left, "y": box.top}
        shape |= {"width": max(box.right - box.left, 1.0), "height": max(box.bottom - box.top, 1.0)}
        parts.append(element("rect", class_="casing", **shape))
        parts.append(
            element("rect", element("title", box.title), class_=f"box {box.look}", **shape)
        )
    return drawing(width, height, title, [*parts, *_tags(boxes, width, height)], name="photo")


def _tags(boxes: Sequence[Box], width: float, height: float) -> list[Markup]:
    """Write the tags, none over another where there is room; those of the last boxes come first."""
    taken: list[Space] = []
    tags: list[Markup] = []
    for box in reversed(boxes):
        if box.tag:
            places = _places(box, width, height)
            free = (first_free(places, known, math.inf, height) for known in (taken, ()))
            tag = next(filter(None, free), places[0])
            taken.append(tag.space)
            tags.append(tag.drawn(f"tag {box.look}"))
    return tags[::-1]


def _places(box: Box, width: float, height: float) -> list[Text]:
    """Return where a tag may stand, the best first: above its box, in its foot or head, below."""
    letter = LETTER * BOLD
    x = max(2.0, min(box.left + 3, width - len(box.tag) * letter))
    foot = min(box.bottom, height - 4.0) - 4
    levels = (box.top - 4, foot, box.top + TEXT_PX, box.bottom + TEXT_PX)
    return [Text(box.tag, x, level, letter=letter) for level in levels]
