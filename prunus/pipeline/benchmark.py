"""`benchmark`: models x runtimes → milliseconds, side by side in one run, a report."""

from prunus.core.console import log, table
from prunus.core.runs import start
from prunus.export.config import BenchmarkConfig
from prunus.export.contest import BenchmarkRow, run_benchmark


def benchmark(settings: BenchmarkConfig) -> dict[str, object]:
    """Time all models in all runtimes in turn and return the report."""
    with start("benchmark", settings) as run:
        for number, path in enumerate(settings.weights):
            run.add_input(f"weights {number}", path)
        rows = run_benchmark(settings, run.folder)
        log.info("%s", _table(rows))
        run.report = {"rows": [_facts(row) for row in rows]}
        return run.finish()


def _facts(row: BenchmarkRow) -> dict[str, object]:
    return {
        "model": str(row.contestant.model),
        "runtime": row.contestant.runtime,
        "precision": row.contestant.precision,
        "file_mb": round(row.megabytes, 3),
        "latency_ms": row.latency.median_ms,
        "iqr_ms": row.latency.iqr_ms,
        "images_per_second": row.latency.images_per_second,
        "repeats": row.latency.repeats,
        "speedup": row.speedup,
    }


def _table(rows: tuple[BenchmarkRow, ...]) -> str:
    return table(
        "milliseconds a call, medians of one interleaved run; compare within this table only",
        ("model", "ms", "spread", "images/s", "MB", "speed-up"),
        [
            (
                row.contestant.name,
                f"{row.latency.median_ms:.2f}",
                f"{row.latency.iqr_ms:.2f}",
                f"{row.latency.images_per_second:.1f}",
                f"{row.megabytes:.2f}",
                f"{row.speedup:.2f}x",
            )
            for row in rows
        ],
    )
