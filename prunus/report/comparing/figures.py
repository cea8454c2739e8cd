"""What some runs measured: the table, accuracy against latency, the curves of trainings."""

from collections.abc import Iterable, Sequence

from prunus.report.blocks import (
    Block,
    Cell,
    Figure,
    Figures,
    Key,
    MissingError,
    Table,
    columns,
)
from prunus.report.comparing.runs import Runs
from prunus.report.measured import Measured
from prunus.report.sections.trainings import curves
from prunus.report.sources import Source
from prunus.report.svg.scatter import Dot, front_words, scatter_chart
from prunus.report.wording import between, count, decimal, gflops, share


def models(rows: Sequence[Measured]) -> Sequence[Block]:
    """Return everything that was measured."""
    if not rows:
        raise MissingError("none of these runs measured a model.")
    figures = ("mAP50-95", "mAP50", "precision", "recall", "parameters", "MB", "ms")
    headings = columns("run", "model") + columns(*figures, numeric=True)
    return [Table("Everything that was measured", headings, [_cells(row) for row in rows])]


def _cells(row: Measured) -> list[Cell]:
    map50, precision, recall = map(row.figure, ("map50", "precision", "recall"))
    params, file_mb = row.figure("params"), row.figure("file_mb")
    return [
        Cell(row.run),
        Cell(row.model),
        Cell(share(row.map50_95), row.map50_95, between(row.spread)),
        Cell(share(map50), map50),
        Cell(share(precision), precision),
        Cell(share(recall), recall),
        Cell(count(params), params, gflops(row.figure("gflops"))),
        Cell(decimal(file_mb), file_mb),
        Cell(decimal(row.latency_ms), row.latency_ms, row.runtime),
    ]


def tradeoff(rows: Sequence[Measured], runs: Sequence[str]) -> Sequence[Block]:
    """Return a drawing of all that has both, each run in its colour."""
    slots = {name: place for place, name in enumerate(runs)}
    placed = [row for row in rows if row.latency_ms and row.map50_95 is not None]
    if not placed:
        raise MissingError("no run has both an accuracy and a latency.")
    runtimes = distinct(row.runtime for row in placed)
    dots = [
        Dot(_dot_name(row, runtimes), row.latency_ms, row.map50_95, row.spread, slots[row.run])
        for row in placed
        if row.latency_ms is not None and row.map50_95 is not None
    ]
    listed = "; ".join(
        f"{row.title} {decimal(row.latency_ms)} ms in {row.runtime}, {share(row.map50_95)}"
        for row in placed
    )
    axis = f"ms in {runtimes.pop()}" if len(runtimes) == 1 else "ms"
    svg = scatter_chart(f"Accuracy against latency: {listed}", dots, axis, "mAP50-95")
    shown = dict.fromkeys(row.run for row in placed)
    legend = [Key(name, slots[name], "dot") for name in shown]
    return [Figures([Figure(svg, f"Up and to the left is better.{front_words(dots)}")], legend)]


def _dot_name(row: Measured, runtimes: set[str]) -> str:
    """Return what stands beside a dot, whose colour says the run already."""
    words = [row.model or row.run, row.runtime if len(runtimes) > 1 else ""]
    return ", ".join(word for word in words if word)


def trainings(runs: Runs) -> Sequence[Block]:
    """Return the curves of the runs, and of the stages of those that were chains."""
    found: dict[str, Source] = {}
    for name, source in runs.items():
        found[name] = source
        found |= {f"{name}: {stage.name}": stage for _, stage in source.stages if stage}
    return curves(found)


def distinct(words: Iterable[str]) -> set[str]:
    """Return the different ones that are not empty."""
    return {word for word in words if word}
