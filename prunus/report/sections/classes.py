"""Average precision of each class, before and after."""

from collections.abc import Sequence

from prunus.report.blocks import (
    Block,
    Cell,
    Figure,
    Figures,
    Key,
    MissingError,
    Paragraph,
    Table,
    columns,
)
from prunus.report.compressed import Compressed
from prunus.report.judged import Judged
from prunus.report.svg.dumbbells import Dumbbell, Side, dumbbell_chart
from prunus.report.wording import between, points, share

DRAWN = 16
"""Classes in the drawing; the table has them all."""
LEGEND = (Key("before", -1, "dot"), Key("after", 0, "dot"))


def classes(run: Compressed) -> Sequence[Block]:
    """Return the classes that lost most as a drawing, and all in a table."""
    fair, result = run.needed_pair()
    before, after = fair.val, result.val
    names = [name for name in before.classes if name in after.classes]
    if not names:
        raise MissingError("the two models' metrics have no class in common.")
    names.sort(key=lambda name: after.classes[name] - before.classes[name])
    spread = any(name in side.class_spreads for side in (before, after) for name in names)
    intervals = (
        " Lines and small figures: 95 % of bootstrap resamples."
        if spread
        else " No intervals: the models were judged without --bootstrap."
    )
    worse = sum(after.classes[name] < before.classes[name] for name in names)
    words = (
        f"mAP50-95 on the validation split, {fair.name} against {result.name}: {worse} of "
        f"{len(names)} classes are lower.{intervals}"
    )
    return [Paragraph(words), _figures(names, before, after), _table(names, before, after)]


def _figures(names: Sequence[str], before: Judged, after: Judged) -> Figures:
    shown = names[:DRAWN]
    rows = [Dumbbell(name, _side(before, name), _side(after, name)) for name in shown]
    listed = "; ".join(
        f"{row.name} {row.before.value:.3f} to {row.after.value:.3f}" for row in rows
    )
    svg = dumbbell_chart(f"mAP50-95 by class, before and after: {listed}", rows, "mAP50-95")
    which = f"The {len(shown)} classes that lost most." if len(names) > DRAWN else "All classes."
    return Figures([Figure(svg, which)], LEGEND)


def _side(judged: Judged, name: str) -> Side:
    return Side(judged.classes[name], judged.class_spreads.get(name))


def _table(names: Sequence[str], before: Judged, after: Judged) -> Table:
    rows = []
    for name in names:
        change = after.classes[name] - before.classes[name]
        sides = [_cell(judged, name) for judged in (before, after)]
        rows.append([Cell(name), *sides, Cell(points(change), change)])
    headings = columns("class") + columns("before", "after", "change", numeric=True)
    return Table("mAP50-95 by class; change in points", headings, rows)


def _cell(judged: Judged, name: str) -> Cell:
    value = judged.classes[name]
    return Cell(share(value), value, between(judged.class_spreads.get(name)))
