"""A matrix of counts as shaded squares."""

from collections.abc import Sequence

from markupsafe import Markup

from prunus.report.svg.elements import WIDTH, drawing, element, label, shortened

NAME = 92.0
HEAD, GAP = 18.0, 1.5
SHADES = 10
"""Steps of the shade, of which the style sheet has a class each."""
NUMBERED = 12
"""Up to so many rows have their counts written in."""


def heat_map(
    title: str, names: Sequence[str], matrix: Sequence[Sequence[int]], x_name: str, y_name: str
) -> Markup:
    """Return a drawing of a square matrix; shades are shares of each column's sum.

    Args:
        title: What it shows.
        names: Of rows and columns.
        matrix: `matrix[row][column]`.
        x_name: What the columns are.
        y_name: What the rows are.
    """
    side = (WIDTH - NAME - 4) / max(len(names), 1)
    bottom = HEAD + side * len(names)
    totals = [max(sum(column), 1) for column in zip(*matrix, strict=True)]
    parts = [label(f"{y_name} ↓", NAME - 8, 12, anchor="end", name="name")]
    parts.append(label(f"{x_name} →", NAME, 12, name="name"))
    for row, counts in enumerate(matrix):
        y = HEAD + row * side
        middle = y + side / 2 + 4
        parts.append(label(shortened(names[row], NAME - 8), NAME - 8, middle, anchor="end"))
        for column, value in enumerate(counts):
            x = NAME + column * side
            shade = -(-value * SHADES // totals[column])
            parts.append(
                element(
                    "rect",
                    element("title", f"{names[column]} found as {names[row]}: {value}"),
                    x=x,
                    y=y,
                    width=side - GAP,
                    height=side - GAP,
                    class_=f"h{shade}",
                )
            )
            if value and len(names) <= NUMBERED:
                look = "over" if shade > SHADES // 2 else "under"
                parts.append(label(f"{value}", x + side / 2, middle, anchor="middle", name=look))
    for column, name in enumerate(names):
        x = NAME + column * side + side / 2
        turned = f"rotate(-40 {x:.1f} {bottom + 12:.1f})"
        words = shortened(name, NAME)
        parts.append(
            element("text", words, x=x, y=bottom + 12, text_anchor="end", transform=turned)
        )
    return drawing(WIDTH, bottom + 74, title, parts)
