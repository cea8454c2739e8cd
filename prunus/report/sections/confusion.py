"""Which class is taken for which, before and after."""

from collections.abc import Sequence
from dataclasses import dataclass

from prunus.report.blocks import (
    Block,
    Cell,
    Figure,
    Figures,
    MissingError,
    Paragraph,
    Table,
    columns,
)
from prunus.report.compressed import Compressed
from prunus.report.judged import Model
from prunus.report.svg.heat import heat_map
from prunus.report.values import number, texts, whole
from prunus.report.wording import count, signed

DRAWN = 20
"""Classes up to which the whole matrix can be read."""
LISTED = 20
"""Kinds of errors in the table."""


@dataclass(frozen=True)
class Matrix:
    """Counts; the last row and column stand for nothing."""

    names: Sequence[str]
    counts: Sequence[Sequence[int]]


def confusion(run: Compressed) -> Sequence[Block]:
    """Return both matrices, and the errors that have changed most."""
    pair = run.needed_pair()
    before, after = map(_matrix, pair)
    if before.names != after.names:
        raise MissingError("the two models were judged on different classes.")
    told = pair[1].val.told("confusion")
    confidence, iou = number(told.get("confidence")), number(told.get("iou"))
    at = "" if None in (confidence, iou) else f" at confidence {confidence:g} and IoU {iou:g}"
    blocks: list[Block] = [
        Paragraph(
            f"Counts on the validation split{at}. The column says what is labelled, the row what "
            "was found; “nothing” as a row is a missed object, as a column a false finding."
        )
    ]
    if len(before.names) <= DRAWN + 1:
        sides = zip(("before", "after"), pair, (before, after), strict=True)
        blocks.append(Figures([_figure(word, model.name, side) for word, model, side in sides]))
    return [*blocks, _errors(before, after)]


def _matrix(model: Model) -> Matrix:
    told = model.val.told("confusion")
    names, rows = texts(told.get("names")), told.get("matrix")
    known = [row for row in rows if isinstance(row, list)] if isinstance(rows, list) else []
    counts = [[whole(value) or 0 for value in row] for row in known]
    if not names or len(counts) != len(names) or any(len(row) != len(names) for row in counts):
        raise MissingError(f"the run of prunus val of {model.name} has no confusion matrix.")
    return Matrix(names, [[max(value, 0) for value in row] for row in counts])


def _figure(word: str, name: str, matrix: Matrix) -> Figure:
    right = sum(matrix.counts[place][place] for place in range(len(matrix.names)))
    total = sum(map(sum, matrix.counts))
    title = f"Confusion matrix {word}, {name}: {right} of {total} counts on the diagonal"
    svg = heat_map(title, matrix.names, matrix.counts, "labelled as", "found as")
    return Figure(svg, f"{word}: {name}. Shades are shares of each column.")


def _errors(before: Matrix, after: Matrix) -> Table:
    """Return the errors of either model, those first whose number changed most."""
    names, changes = before.names, []
    for row in range(len(names)):
        for column in range(len(names)):
            old, new = before.counts[row][column], after.counts[row][column]
            if row != column and (old or new):
                changes.append((names[column], names[row], old, new))
    changes.sort(key=lambda change: (-abs(change[3] - change[2]), -change[3]))
    rows = [
        [
            Cell(label),
            Cell(found),
            Cell(count(old), old),
            Cell(count(new), new),
            Cell(signed(new - old, 0), new - old),
        ]
        for label, found, old, new in changes[:LISTED]
    ]
    headings = columns("labelled as", "found as")
    headings += columns("before", "after", "change", numeric=True)
    return Table("Errors whose number changed most", headings, rows)
