"""Average precision of each class, before and after."""

from collections.abc import Sequence

from prunus.report.blocks import (
    Block,
    Cell,
    Column,
    Figure,
    Figures,
    Key,
    MissingError,
    Paragraph,
    Table,
)
from prunus.report.compressed import Compressed, Judged, compared
from prunus.report.svg.dumbbells import Dumbbell, Side, dumbbell_chart
from prunus.report.wording import between, points, share

DRAWN = 16
"""Classes in the drawing; the table has them all."""
LEGEND = (Key("before", -1, "dot"), Key("after", 0, "dot"))


def classes(run: Compressed) -> Sequence[Block]:
    """Return the classes that lost most as a drawing, and all in a table."""
    pair = compared(run)
    if pair is None:
        raise MissingError("the report names no pair of dense and pruned models.")
    before, after = pair[0].val, pair[1].val
    names = [name for name in before.classes if name in after.classes]
    if not names:
        raise MissingError("the two models' metrics have no class in common.")
    names.sort(key=lambda name: after.classes[name] - before.classes[name])
    spread = any(name in side.class_spreads for side in (before, after) for name in names)
    intervals = (
        " Lines and small figures: 95 % of bootstrap resamples."
        if spread
        else (" No intervals: the models were judged without --bootstrap.")
    )
    worse = sum(after.classes[name] < before.classes[name] for name in names)
    words = (
        f"mAP50-95 on the validation split, {pair[0].name} against {pair[1].name}: {worse} of "
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
    columns = [
        Column("class"),
        *(Column(name, numeric=True) for name in ("before", "after", "change")),
    ]
    rows = []
    for name in names:
        change = after.classes[name] - before.classes[name]
        sides = [_cell(judged, name) for judged in (before, after)]
        rows.append([Cell(name), *sides, Cell(points(change), change)])
    return Table("mAP50-95 by class; change in points", columns, rows)


def _cell(judged: Judged, name: str) -> Cell:
    value = judged.classes[name]
    return Cell(share(value), value, between(judged.class_spreads.get(name)))
