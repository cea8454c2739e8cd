"""`benchmark`: models x runtimes → milliseconds, side by side in one run, a report."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prunus.core.console import log, table
from prunus.core.errors import ExportError
from prunus.core.files import write_text
from prunus.core.machine import machine_facts, package_versions
from prunus.core.records import Runner, Size
from prunus.core.runs import start
from prunus.data.index import build_index
from prunus.data.loader import validation_batches
from prunus.data.spec import read_data
from prunus.evaluate.val import evaluate
from prunus.export.config import BenchmarkConfig
from prunus.export.contest import BenchmarkRow, Judge, run_benchmark
from prunus.export.ranking import (
    best_under,
    check_one_machine,
    other_packages,
    plot_pareto,
    title,
)

ROWS, PARETO = "benchmark.jsonl", "pareto.png"


def benchmark(settings: BenchmarkConfig) -> dict[str, object]:
    """Time all models in all runtimes in turn and return the report.

    Raises:
        ExportError: Nothing can be run, or an earlier run is of another machine.
    """
    with start("benchmark", settings) as run:
        for number, path in enumerate(settings.weights):
            run.add_input(f"weights {number}", path)
        earlier = [] if settings.beside is None else _read(settings.beside)
        check_one_machine({"machine": machine_facts()}, earlier, str(settings.beside))
        if others := other_packages(package_versions(), earlier):
            log.warning("%s: measured with other packages: %s", settings.beside, ", ".join(others))
        judge = None if settings.data is None else _judge(settings)
        rows = [_facts(row) for row in run_benchmark(settings, run.folder, judge)]
        write_text(run.path(ROWS), "".join(json.dumps(row) + "\n" for row in rows))
        log.info("%s", _table([*rows, *earlier]))
        run.report = {"rows": rows, "beside": earlier}
        if settings.pareto:
            plot_pareto(run.path(PARETO), [*rows, *earlier])
            log.info("accuracy over latency: %s", run.path(PARETO))
        if settings.best_under is not None:
            run.report["best"] = _ship([*rows, *earlier], settings.best_under)
        return run.finish()


def _judge(settings: BenchmarkConfig) -> Judge:
    """Return what evaluates a runner on the validation split, in squares of its size."""
    assert settings.data is not None
    index = build_index(read_data(settings.data), "val")

    def judge(runner: Runner, size_hw: Size) -> float:
        batches = validation_batches(
            index, max(size_hw), settings.batch_size, runner.stride, rectangular=False
        )
        return round(evaluate(runner, batches, index).map50_95, 4)

    return judge


def _facts(row: BenchmarkRow) -> dict[str, Any]:
    return {
        "model": str(row.contestant.model),
        "runtime": row.contestant.runtime,
        "precision": row.contestant.precision,
        "size_hw": list(row.contestant.size_hw),
        "threads": row.contestant.threads,
        "file_mb": round(row.megabytes, 3),
        "latency_ms": row.latency.median_ms,
        "iqr_ms": row.latency.iqr_ms,
        "images_per_second": row.latency.images_per_second,
        "repeats": row.latency.repeats,
        "peak_mb": round(row.peak_mb, 1),
        "speedup": row.speedup,
        "clock": row.clock,
        "map50_95": row.map50_95,
        "machine": machine_facts(),
        "packages": package_versions(),
    }


def _read(path: Path) -> list[dict[str, Any]]:
    """Read the rows of an earlier run.

    Raises:
        ExportError: They are not such.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        for row in rows:
            _cells(row)
            dict(row["machine"])
            dict(row.get("packages", {}))
    except OSError as error:
        raise ExportError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(f"{path}: not the {ROWS} of a prunus benchmark: {error}.") from error
    return rows


def _ship(rows: list[dict[str, Any]], limit_ms: float) -> Mapping[str, Any] | None:
    """Name the model to ship; None if none is fast enough."""
    best = best_under(rows, limit_ms)
    if best is None:
        fastest = min(row["latency_ms"] for row in rows)
        log.warning(
            "--best-under %g ms: no model is that fast here; the fastest takes %.2f ms. Prune "
            "more, or take a smaller --img.",
            limit_ms,
            fastest,
        )
        return None
    log.info(
        "to ship under %g ms: %s (%.2f ms, mAP50-95 %.3f): %s",
        limit_ms,
        title(best),
        best["latency_ms"],
        best["map50_95"],
        best["model"],
    )
    return best


def _table(rows: list[dict[str, Any]]) -> str:
    return table(
        "milliseconds a call, medians of one interleaved run; compare within this table only",
        ("model", "runtime", "img", "thr", "ms", "spread", "images/s", "MB", "peak MB", "mAP50-95",
         "speed-up"),
        [_cells(row) for row in rows],
    )  # fmt: skip


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    accuracy = row["map50_95"]
    height, width = row["size_hw"]
    return (
        row["model"],
        f"{row['runtime']} {row['precision']}",
        str(height) if height == width else f"{height}x{width}",
        str(row["threads"]),
        f"{row['latency_ms']:.2f}",
        f"{row['iqr_ms']:.2f}",
        f"{row['images_per_second']:.1f}",
        f"{row['file_mb']:.2f}",
        f"{row['peak_mb']:.0f}",
        "" if accuracy is None else f"{accuracy:.3f}",
        f"{row['speedup']:.2f}x",
    )
