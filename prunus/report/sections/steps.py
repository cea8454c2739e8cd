"""The way from the dense model to what is shipped, with the models that were judged between."""

from collections.abc import Sequence

from prunus.report.blocks import Block, Cell, MissingError, Paragraph, Table, columns
from prunus.report.compressed import Compressed
from prunus.report.values import Record, number, record, records, text
from prunus.report.wording import count, decimal, gflops, share, times

BETWEEN = "on the way, not shipped"


def steps(run: Compressed) -> Sequence[Block]:
    """Return the table of steps; speed-ups are over the first row that was timed."""
    rows = records(run.source.report.get("steps"))
    if not rows:
        raise MissingError("the report has no table of steps.")
    between = {text(row.get("step")) for row in records(run.source.report.get("between"))}
    between -= {model.step for model in run.models}
    shipped = "" if run.result is None else run.result.step
    marked = [place for place, row in enumerate(rows) if text(row.get("step")) == shipped != ""]
    tested = any(number(row.get("test_map50_95")) is not None for row in rows)
    first_ms = _first_ms(rows)
    figures = ["mAP50-95", "mAP50", *(["test mAP50-95"] if tested else [])]
    figures += ["parameters", "MB", *(f"{name} ms" for name in first_ms)]
    headings = columns("step") + columns(*figures, numeric=True)
    cells = [_row(row, between, first_ms, tested=tested) for row in rows]
    words = "What each step did to accuracy, size and speed: as cut, and after what made up for it."
    caption = "Steps; speed-ups are over the first row that was timed"
    return [Paragraph(words), Table(caption, headings, cells, marked)]


def _row(row: Record, between: set[str], first_ms: dict[str, float], *, tested: bool) -> list[Cell]:
    names = ("map50_95", "map50", *(["test_map50_95"] if tested else []))
    accuracies = [number(row.get(name)) for name in names]
    params, file_mb = number(row.get("params")), number(row.get("file_mb"))
    step, own_ms = text(row.get("step")), _latency_ms(row)
    return [
        Cell(step, step, BETWEEN if step in between else ""),
        *(Cell(share(value), value) for value in accuracies),
        Cell(count(params), params, gflops(number(row.get("gflops")))),
        Cell(decimal(file_mb), file_mb),
        *(_timed(own_ms.get(name), first) for name, first in first_ms.items()),
    ]


def _timed(own_ms: float | None, first_ms: float) -> Cell:
    return Cell(decimal(own_ms), own_ms, "" if own_ms is None else times(first_ms / own_ms))


def _first_ms(rows: Sequence[Record]) -> dict[str, float]:
    """Return the first time in each runtime."""
    known: dict[str, float] = {}
    for row in rows:
        for name, ms in _latency_ms(row).items():
            known.setdefault(name, ms)
    return known


def _latency_ms(row: Record) -> dict[str, float]:
    found = {text(name): number(ms) for name, ms in record(row.get("latency_ms")).items()}
    return {name: ms for name, ms in found.items() if ms is not None and ms > 0}
