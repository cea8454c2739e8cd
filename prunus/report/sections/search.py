"""What was tried to reach the target: cuts of different sizes, and further options."""

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
from prunus.report.compressed import Compressed
from prunus.report.svg.lines import Mark
from prunus.report.svg.scatter import Dot, scatter_chart
from prunus.report.values import Record, number, records, text, texts
from prunus.report.wording import decimal, plural, share, signed

UNITS = {
    "speedup": "speed-up",
    "latency_ms": "milliseconds",
    "flops": "share of the FLOPs",
    "params": "share of the parameters",
    "size_mb": "MB",
    "percent": "share of the channels",
}
"""What a target's kind is called."""


def unit(run: Compressed) -> str:
    """Return what the target is counted in."""
    kind = text(run.target.get("kind"))
    return UNITS.get(kind, kind or "budget")


def trials(run: Compressed) -> Sequence[Block]:
    """Return the trials of the search, drawn and listed."""
    found = records(run.source.report.get("trials"))
    if not found:
        raise MissingError("no amount was searched for: the cut was made once, as asked.")
    columns = [
        Column("asked", numeric=True),
        Column(f"achieved, {unit(run)}", numeric=True),
        Column("rounds", numeric=True),
        Column("mAP50-95", numeric=True),
        Column("drop, points", numeric=True),
        Column("accepted"),
        Column("why"),
        Column("stages"),
    ]
    blocks: list[Block] = []
    figure = _figure(run, found)
    if figure is not None:
        blocks.append(Figures([figure], [Key("accepted", 0, "dot"), Key("rejected", 1, "ring")]))
    return [*blocks, Table("Trials, in order", columns, [_row(trial) for trial in found])]


def options(run: Compressed) -> Sequence[Block]:
    """Return the options that the benchmark accepted or rejected."""
    found = records(run.source.report.get("options"))
    if not found:
        raise MissingError("no further option (activation, low rank, INT8) was tried.")
    rows = [
        [Cell(text(option.get("option"))), _verdict(option), Cell(text(option.get("why")))]
        for option in found
    ]
    names = ("option", "accepted", "why")
    words = "Each was measured and kept only if it paid."
    return [Paragraph(words), Table("Options", [Column(name) for name in names], rows)]


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


def _verdict(row: Record) -> Cell:
    accepted = row.get("accepted") is True
    return Cell("yes" if accepted else "no", mood="good" if accepted else "bad")


def _figure(run: Compressed, found: Sequence[Record]) -> Figure | None:
    dots = []
    for place, trial in enumerate(found, start=1):
        achieved, drop = number(trial.get("achieved")), number(trial.get("drop"))
        if achieved is not None and drop is not None:
            accepted = trial.get("accepted") is True
            slot = 0 if accepted else 1
            dots.append(Dot(f"trial {place}", achieved, -drop, slot=slot, hollow=not accepted))
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
    return Figure(
        svg, "Each trial: what it achieved, and what it cost against the fair comparator."
    )
