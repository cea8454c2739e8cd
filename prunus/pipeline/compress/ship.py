"""What a run ships: both models beside the table, in the runtime's format, INT8 where it pays."""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prunus.core.console import log
from prunus.core.errors import ConfigError, ExportError
from prunus.core.files import sha256
from prunus.core.runs import Run
from prunus.export.backends import BACKENDS
from prunus.pipeline.chain.stage import Done
from prunus.pipeline.compress.work import Model, Work
from prunus.pipeline.models import model_facts
from prunus.weights.files import load_weights

QUANTIZABLE = ("onnx", "openvino")
PORTABLE = "onnx"
"""Written where the target's runtime has no format of its own."""
POINTS = 100


@dataclass(frozen=True)
class Shipped:
    """A model of the comparison, with all that was measured of it.

    Attributes:
        model: What it is.
        runtime_file: The file for the runtime.
        test: Its judgement on the test split, if there is one.
        latency_ms: By runtime and precision.
        file_mb: Of the file for the runtime.
        int8: Whether that file computes in 8 bits; the weights are then those it was made from.
    """

    model: Model
    runtime_file: Path
    test: Done | None = None
    latency_ms: dict[str, float] = field(default_factory=dict)
    file_mb: float = 0.0
    int8: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """Return what is timed: the weights in torch, unless it is only a file for the runtime."""
        return (self.runtime_file,) if self.int8 else (self.model.path, self.runtime_file)

    def facts(self, folder: Path) -> dict[str, Any]:
        """Return what the report says of it; paths as seen from the run's folder."""
        vals = {"val": self.model.val, "test": self.test}
        return {
            "name": self.model.name,
            "role": self.model.role,
            "step": self.model.step,
            "weights": _inside(self.model.path, folder),
            "runtime_file": _inside(self.runtime_file, folder),
            "sha256": sha256(self.model.path),
            **model_facts(load_weights(self.model.path).detector),
            "file_mb": self.file_mb,
            "metrics": self.model.metrics,
            "test_metrics": None if self.test is None else self.test.report["metrics"],
            "latency_ms_by_runtime": self.latency_ms,
            "val_runs": {key: done.folder.name for key, done in vals.items() if done is not None},
        }


def place(work: Work, run: Run, model: Model, name: str, data: Path) -> Shipped:
    """Copy a model's weights to the run's own folder, with its file for the runtime."""
    weights = run.path(f"{name}{model.path.suffix}")
    shutil.copyfile(model.path, weights)
    runtime = work.target.runtime if work.target.runtime in QUANTIZABLE else PORTABLE
    done = work.chain.do(
        f"export-{name}", "export", weights=model.file, formats=[runtime], data=str(data)
    )
    written = done.path(f"paths.{runtime}")
    file = weights.with_suffix(written.suffix)
    backend = BACKENDS[runtime]
    for source, to in zip(backend.files(written), backend.files(file), strict=True):
        shutil.copyfile(source, to)
    return Shipped(replace(model, path=weights), file)


def quantized(
    work: Work, run: Run, model: Model, name: str, points: float
) -> tuple[Shipped | None, str]:
    """Quantize a model for the target's runtime.

    Args:
        work: The run's stages.
        run: In whose folder.
        model: Dense or pruned.
        name: Of the file.
        points: Of mAP50-95 that INT8 may lose.

    Returns:
        The file with its judgement, or None; and what there is to say.
    """
    format_name = work.target.runtime
    if format_name not in QUANTIZABLE:
        return None, f"{format_name} runs no INT8 files"
    if points <= 0:
        return None, "nothing is left of --max-drop"
    try:
        done = work.chain.do(
            f"quantize-{name}",
            "quantize",
            weights=model.file,
            format=format_name,
            max_drop=round(points / POINTS, 4),
        )
    except (ExportError, ConfigError) as error:
        return None, str(error)
    written = done.path("path")
    file = run.path(f"{name}-int8{written.suffix}")
    backend = BACKENDS[format_name]
    for source, to in zip(backend.files(written), backend.files(file), strict=True):
        shutil.copyfile(source, to)
    judged = work.judge(f"{name}-int8", done.file("path"))
    role = f"quantized {model.role}"
    int8 = replace(model, name=f"{name}-int8", role=role, step=f"{model.step}, INT8", val=judged)
    lost = POINTS * (model.map50_95 - int8.map50_95)
    return Shipped(int8, file, int8=True), f"{lost:.1f} points lost"


def timed(work: Work, models: list[Shipped]) -> list[Shipped]:
    """Time all of them in torch and in the target's runtime, in one interleaved run."""
    target = work.target
    done = work.chain.do(
        "benchmark",
        "benchmark",
        weights=[str(file) for model in models for file in model.files],
        runtimes=["torch", _runtime(target.runtime)],
        precisions=list(dict.fromkeys(("fp32", target.precision))),
        threads=target.threads,
        repeats=work.settings.repeats,
    )
    return [_with_times(model, done.report["rows"]) for model in models]


def _with_times(model: Shipped, rows: list[dict[str, Any]]) -> Shipped:
    own = [row for row in rows if Path(row["model"]) in model.files]
    sizes = [row["file_mb"] for row in own if Path(row["model"]) == model.runtime_file]
    ms = {f"{row['runtime']} {row['precision']}": row["latency_ms"] for row in own}
    return replace(model, latency_ms=ms, file_mb=sizes[0] if sizes else 0.0)


def _runtime(runtime: str) -> str:
    return runtime if runtime in QUANTIZABLE else PORTABLE


def _inside(path: Path, folder: Path) -> str:
    try:
        return str(path.relative_to(folder))
    except ValueError:
        log.info("%s: lies outside the run's folder", path)
        return str(path)
