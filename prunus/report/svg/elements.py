"""Elements of SVG, escaped; and the frame that every drawing has."""

from collections.abc import Iterable

from markupsafe import Markup

WIDTH = 420
"""Units across a drawing: about a phone's pixels."""
LETTER = 6.1
"""Mean width of a letter at 12 units, measured on the system fonts of three browsers."""


def element(name: str, *children: Markup | str, **attributes: object) -> Markup:
    """Return `<name attributes>children</name>`.

    Args:
        name: Of the element.
        children: Inside; texts are escaped.
        attributes: `class_` stands for class, `_` for a hyphen; None leaves it out.
    """
    words = [
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _shown(value))
        for key, value in attributes.items()
        if value is not None
    ]
    inside = Markup("").join(children)
    if not inside:
        return Markup("<{}{}/>").format(Markup(name), Markup("").join(words))
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), Markup("").join(words), inside)


def drawing(
    width: float, height: float, title: str, parts: Iterable[Markup], *, name: str = ""
) -> Markup:
    """Return a whole drawing.

    Args:
        width: In units.
        height: Likewise.
        title: What it shows, for those who do not see it.
        parts: Its elements.
        name: A class of its own for the style sheet.
    """
    return element(
        "svg",
        element("title", title),
        *parts,
        viewBox=f"0 0 {_shown(width)} {_shown(height)}",
        role="img",
        aria_label=title,
        class_=name or None,
    )


def label(words: str, x: float, y: float, *, anchor: str = "start", name: str = "") -> Markup:
    """Return a text; `anchor` is start, middle or end."""
    return element(
        "text",
        words,
        x=x,
        y=y,
        text_anchor=None if anchor == "start" else anchor,
        class_=name or None,
    )


def shortened(words: str, width: float) -> str:
    """Return a text that fits into so many units, its middle left out if need be."""
    most = max(3, int(width / LETTER))
    if len(words) <= most:
        return words
    head = (most - 1) // 2
    return f"{words[:head]}…{words[len(words) - (most - 1 - head) :]}"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return str(value)
