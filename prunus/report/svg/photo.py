"""A photograph with boxes over it. Its pixels stand in the page once, however often it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from prunus.report.svg.elements import LETTER, drawing, element, label

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
    for box in boxes:
        if box.tag:
            x = max(2.0, min(box.left + 3, width - len(box.tag) * LETTER * BOLD))
            y = box.top - 4 if box.top > TEXT_PX + 4 else min(box.bottom, height - 4.0) - 4
            parts.append(label(box.tag, x, y, name=f"tag {box.look}"))
    return drawing(width, height, title, parts, name="photo")
