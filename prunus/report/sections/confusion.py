"""Which class is taken for which, before and after."""

from collections.abc import Sequence
from dataclasses import dataclass

from prunus.report.blocks import (
    Block,
    Cell,
    Column,
    Figure,
    Figures,
    MissingError,
    Paragraph,
    Table,
)
from prunus.report.compressed import Compressed, Judged, compared
from prunus.report.svg.heat import heat_map
from prunus.report.values import number, record, texts, whole
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
    pair = compared(run)
    if pair is None:
        raise MissingError("the report names no pair of dense and pruned models.")
    before, after = (_matrix(model.val, model.name) for model in pair)
    if before.names != after.names:
        raise MissingError("the two models were judged on different classes.")
    report = record(pair[1].val.run.report.get("confusion")) if pair[1].val.run else {}
    confidence, iou = number(report.get("confidence")), number(report.get("iou"))
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


def _matrix(judged: Judged, name: str) -> Matrix:
    found = record(judged.run.report.get("confusion")) if judged.run else {}
    names = texts(found.get("names"))
    rows = found.get("matrix")
    counts = (
        [[whole(value) or 0 for value in row] for row in rows if isinstance(row, list)]
        if (isinstance(rows, list))
        else []
    )
    if not names or len(counts) != len(names) or any(len(row) != len(names) for row in counts):
        raise MissingError(f"the run of prunus val of {name} has no confusion matrix.")
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
    columns = [Column("labelled as"), Column("found as")]
    columns += [Column(name, numeric=True) for name in ("before", "after", "change")]
    return Table("Errors whose number changed most", columns, rows)
