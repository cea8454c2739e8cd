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
from prunus.pipeline.compress.target import Target
from prunus.pipeline.compress.work import POINTS, Model, Work, points_lost

QUANTIZABLE = ("onnx", "openvino")
PORTABLE = "onnx"
"""Written where the target's runtime has no format of its own."""


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
        loses_too_much: Whether quantizing alone costs more than it may.
    """

    model: Model
    runtime_file: Path
    test: Done | None = None
    latency_ms: dict[str, float] = field(default_factory=dict)
    file_mb: float = 0.0
    int8: bool = False
    loses_too_much: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """Return what is timed: the weights in torch, unless it is only a file for the runtime."""
        return (self.runtime_file,) if self.int8 else (self.model.path, self.runtime_file)

    def ms(self, target: Target) -> float | None:
        """Return its milliseconds in the target's runtime; None where they were not measured.

        What an INT8 file leaves in float computes in the target's precision, if that can be said.
        """
        int8 = f"{target.runtime} int8"
        keys = (f"{int8} + {target.precision}", int8) if self.int8 else (target.timing,)
        return next((self.latency_ms[key] for key in keys if key in self.latency_ms), None)

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
            **self.model.size,
            "file_mb": self.file_mb,
            "metrics": self.model.metrics,
            "test_metrics": None if self.test is None else self.test.report["metrics"],
            "latency_ms_by_runtime": self.latency_ms,
            "val_runs": {key: done.folder.name for key, done in vals.items() if done is not None},
        }


def place(work: Work, run: Run, model: Model) -> Shipped:
    """Copy a model's weights to the run's own folder, with its file for the runtime."""
    weights = run.path(f"{model.name}{model.path.suffix}")
    shutil.copyfile(model.path, weights)
    runtime = _runtime(work.target.runtime)
    done = work.chain.do(
        f"export-{model.name}",
        "export",
        weights=model.file,
        formats=[runtime],
        data=str(work.settings.data),
    )
    written = done.path(f"paths.{runtime}")
    file = weights.with_suffix(written.suffix)
    _copy(runtime, written, file)
    return Shipped(replace(model, path=weights), file)


def quantized(
    work: Work, run: Run, model: Model, points: float, beside: Done | None
) -> Shipped | None:
    """Quantize a model for the target's runtime, and say what came of it.

    Args:
        work: The run's stages.
        run: In whose folder.
        model: Dense or pruned.
        points: Of mAP50-95 that INT8 may lose.
        beside: Judgement that its own is compared with, if any.

    Returns:
        The file with its judgement; None where there is no such file.
    """
    title, format_name = f"INT8 of the {model.name} model", work.target.runtime
    try:
        done = _in_8_bits(work, model, points)
    except (ExportError, ConfigError) as error:
        work.decide(title, accepted=False, why=str(error))
        return None
    written = done.path("path")
    name = f"{model.name}-int8"
    file = run.path(f"{name}{written.suffix}")
    _copy(format_name, written, file)
    judged = work.judge(name, done.file("path"), beside=beside)
    role = f"quantized {model.role}"
    int8 = replace(model, name=name, role=role, step=f"{model.step}, INT8", val=judged)
    lost = points_lost(model.map50_95, int8.map50_95)
    accepted = bool(done.report["within_max_drop"])
    work.decide(title, accepted=accepted, why=f"{lost:.1f} points lost by it, {points:.1f} allowed")
    return Shipped(int8, file, int8=True, loses_too_much=not accepted)


def _in_8_bits(work: Work, model: Model, points: float) -> Done:
    if work.target.runtime not in QUANTIZABLE:
        raise ConfigError(f"{work.target.runtime} runs no INT8 files.")
    if points <= 0:
        raise ConfigError("nothing is left of --max-drop.")
    return work.chain.do(
        f"quantize-{model.name}",
        "quantize",
        weights=model.file,
        format=work.target.runtime,
        max_drop=round(points / POINTS, 4),
    )


def _copy(format_name: str, written: Path, to: Path) -> None:
    backend = BACKENDS[format_name]
    for source, copy in zip(backend.files(written), backend.files(to), strict=True):
        shutil.copyfile(source, copy)


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
