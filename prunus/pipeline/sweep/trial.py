"""One trial, wherever it runs: prune, fine-tune, judge, time, each a verb with its own folder.

What comes in and goes out is plain JSON. The worker's process computes with one thread.
"""

import os
import platform
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prunus.core.errors import PrunusError, printable
from prunus.core.files import write_text

WORKER, TRACEBACK = "worker.txt", "traceback.txt"
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1"
)
"""Read by libraries as they are loaded."""

Job = Mapping[str, Any]
"""See `plan.job`."""
Outcome = dict[str, Any]
"""Columns of the table: those that were measured, or `error`; and always its times."""


def attempt(job: Job) -> Outcome:
    """Run a trial; what goes wrong in it is told, not raised."""
    os.environ.update(ONE_THREAD)
    folder = Path(job["folder"])
    start, computed = time.perf_counter(), time.process_time()
    try:
        write_text(folder / WORKER, f"{platform.node()} {os.getpid()}\n")
        outcome = run(job)
    except PrunusError as error:
        outcome = {"error": printable(" ".join(str(error).split()))}
    except Exception as error:  # noqa: BLE001 - one trial's bug must not cost the others
        write_text(folder / TRACEBACK, traceback.format_exc())
        text = printable(" ".join(str(error).split()))
        outcome = {"error": f"{type(error).__name__}: {text} ({folder.name}/{TRACEBACK})"}
    return {
        **outcome,
        "seconds": round(time.perf_counter() - start, 2),
        "core_seconds": round(time.process_time() - computed, 2),
    }


def run(job: Job) -> Outcome:
    """Run the stages of a trial, and return what was measured.

    Raises:
        PrunusError: A stage cannot be done.
    """
    _use_one_thread()
    from prunus.core.config import parse  # late: torch has to find the variables that are set above
    from prunus.evaluate.config import ValConfig
    from prunus.pipeline.prune import prune
    from prunus.pipeline.train import train
    from prunus.pipeline.val import val
    from prunus.prune.config import PruneConfig
    from prunus.train.config import TrainConfig

    dense, data, folder = (Path(job[name]) for name in ("weights", "data", "folder"))
    stages: Mapping[str, Mapping[str, object]] = job["stages"]
    weights = dense

    def settings(stage: str, **values: object) -> dict[str, object]:
        place: dict[str, object] = {"data": data, "out": folder / stage, "weights": weights}
        return {**stages[stage], **place, **values}

    if "prune" in stages:
        report: Any = prune(parse(PruneConfig, settings("prune"), "prune"))
        weights = Path(report["weights"])
    if "train" in stages:
        report = train(parse(TrainConfig, settings("train", teacher=dense), "train"))
        weights = Path(report["best"])
    report = val(parse(ValConfig, settings("val"), "val"))
    judged = {
        **{name: report["metrics"][name] for name in ("map50", "map50_95")},
        **{name: report["model"][name] for name in ("params", "gflops")},
        "weights": str(weights.relative_to(folder)) if weights != dense else str(dense),
    }
    return {**judged, **_time(stages, dense, weights, folder)}


def _time(
    stages: Mapping[str, Mapping[str, object]], dense: Path, weights: Path, folder: Path
) -> Outcome:
    """Time the dense model and the trial's in one interleaved run, if that is asked for."""
    if "benchmark" not in stages:
        return {}
    from prunus.core.config import parse
    from prunus.export.config import BenchmarkConfig
    from prunus.pipeline.benchmark import benchmark

    values = {**stages["benchmark"], "weights": [dense, weights], "out": folder / "benchmark"}
    report: Mapping[str, Any] = benchmark(parse(BenchmarkConfig, values, "benchmark"))
    dense_ms, ms = (row["latency_ms"] for row in report["rows"])
    return {"ms": ms, "dense_ms": dense_ms, "speedup": dense_ms / ms}


def _use_one_thread() -> None:
    import cv2  # late, as above
    import torch

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
