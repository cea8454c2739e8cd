"""What was tried to reach the target: cuts of different sizes, and further options."""

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
from prunus.report.svg.axes import Mark
from prunus.report.svg.scatter import Dot, scatter_chart
from prunus.report.target import unit
from prunus.report.values import Record, number, records, text, texts
from prunus.report.wording import decimal, plural, share, signed

LEGEND = (Key("accepted", 0, "dot"), Key("rejected", 1, "ring"))


def trials(run: Compressed) -> Sequence[Block]:
    """Return the trials of the search, drawn and listed."""
    if not run.trials:
        raise MissingError("no amount was searched for: the cut was made once, as asked.")
    figures = ("asked", f"achieved, {unit(run)}", "rounds", "mAP50-95", "drop, points")
    headings = columns(*figures, numeric=True) + columns("accepted", "why", "stages")
    table = Table("Trials, in order", headings, [_row(trial) for trial in run.trials])
    figure = _figure(run)
    return [table] if figure is None else [Figures([figure], LEGEND), table]


def options(run: Compressed) -> Sequence[Block]:
    """Return the options that the benchmark accepted or rejected."""
    found = records(run.source.report.get("options"))
    if not found:
        raise MissingError("no further option (activation, low rank, INT8) was tried.")
    rows = [
        [Cell(text(option.get("option"))), _verdict(option), Cell(text(option.get("why")))]
        for option in found
    ]
    words = "Each was measured and kept only if it paid."
    return [Paragraph(words), Table("Options", columns("option", "accepted", "why"), rows)]


def _row(trial: Record) -> list[Cell]:
    asked, achieved, rounds, accuracy, drop = (
        number(trial.get(name)) for name in ("asked", "achieved", "rounds", "map50_95", "drop")
    )
    return [
        Cell(decimal(asked), asked),
        Cell(decimal(achieved), achieved),
        Cell(decimal(rounds, 0), rounds),
        Cell(share(accuracy), accuracy),
        Cell(decimal(drop), drop),
        _verdict(trial),
        Cell(text(trial.get("why"))),
        Cell(", ".join(dict.fromkeys(texts(trial.get("stages"))))),
    ]


def _accepted(row: Record) -> bool:
    return row.get("accepted") is True


def _verdict(row: Record) -> Cell:
    accepted = _accepted(row)
    return Cell("yes" if accepted else "no", mood="good" if accepted else "bad")


def _figure(run: Compressed) -> Figure | None:
    dots = []
    for place, trial in enumerate(run.trials, start=1):
        achieved, drop = number(trial.get("achieved")), number(trial.get("drop"))
        if achieved is not None and drop is not None:
            key = LEGEND[0 if _accepted(trial) else 1]
            hollow = key.shape == "ring"
            dots.append(Dot(f"trial {place}", achieved, -drop, slot=key.slot, hollow=hollow))
    if not dots:
        return None
    limit = run.max_drop
    mark = None if limit is None else Mark(-limit, f"at most {plural(limit, 'point')} lost")
    listed = "; ".join(f"{dot.name}: {dot.x:.2f}, {signed(dot.y, 2)} points" for dot in dots)
    svg = scatter_chart(
        f"Change of accuracy over what was achieved: {listed}",
        dots,
        f"achieved, {unit(run)}",
        "change of mAP50-95, points",
        front=False,
        mark=mark,
    )
    words = "Each trial: what it achieved, and what it cost against the fair comparator."
    return Figure(svg, words)
