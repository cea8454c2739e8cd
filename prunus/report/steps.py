"""The before/after table: one row a step, its accuracy, size, cost and speed beside the first's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prunus.core.console import table


@dataclass(frozen=True)
class StepRow:
    """One step of a chain, as far as it was measured; None or missing where it was not.

    Attributes:
        step: What was done.
        map50: On the validation split, as the next one.
        map50_95: See above.
        test_map50_95: On the test split.
        params: Parameters, batch norms included.
        gflops: At 640 pixels.
        file_mb: Of the weights file, 10^6 bytes.
        latency_ms: By runtime, all from one interleaved run.
    """

    step: str
    map50: float | None = None
    map50_95: float | None = None
    test_map50_95: float | None = None
    params: int | None = None
    gflops: float | None = None
    file_mb: float | None = None
    latency_ms: Mapping[str, float] = field(default_factory=dict)


def steps_table(title: str, rows: Sequence[StepRow]) -> str:
    """Return the table as aligned text, for a terminal."""
    header, cells = _cells(rows)
    return table(title, header, cells)


def steps_markdown(rows: Sequence[StepRow]) -> str:
    """Return the table as Markdown."""
    header, cells = _cells(rows)
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cells(rows: Sequence[StepRow]) -> tuple[list[str], list[list[str]]]:
    """Columns: those figures that at least one row has; speed-ups over the first timed row."""
    runtimes = list(dict.fromkeys(name for row in rows for name in row.latency_ms))
    first_ms = {
        name: next(row.latency_ms[name] for row in rows if name in row.latency_ms)
        for name in runtimes
    }
    tested = any(row.test_map50_95 is not None for row in rows)
    header = ["step", "mAP50", "mAP50-95", *(["test mAP50-95"] if tested else [])]
    header += ["params", "GFLOPs", "MB"]
    for name in runtimes:
        header += [f"{name} ms", "speed-up"]
    cells = []
    for row in rows:
        line = [row.step, _share(row.map50), _share(row.map50_95)]
        line += [_share(row.test_map50_95)] if tested else []
        line += [
            "-" if row.params is None else f"{row.params:,}",
            _number(row.gflops, 2),
            _number(row.file_mb, 2),
        ]
        for name in runtimes:
            latency = row.latency_ms.get(name)
            line += [
                _number(latency, 2),
                "-" if latency is None else f"{first_ms[name] / latency:.2f}x",
            ]
        cells.append(line)
    return header, cells


def _share(value: float | None) -> str:
    return _number(value, 3)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
