"""`compress`: adapt (→ train for sparsity) → prune → fine-tune → export → benchmark, and one table.

Each stage is the verb of that name with a run folder of its own inside this run's; they hand over
files. What the table says of a model was measured on the file that lies beside it.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prunus.core.config import parse
from prunus.core.console import log
from prunus.core.errors import ConfigError
from prunus.core.files import megabytes, write_text
from prunus.core.runs import Run, start
from prunus.data.spec import read_data
from prunus.evaluate.config import ValConfig
from prunus.export.config import BenchmarkConfig, ExportConfig
from prunus.pipeline.benchmark import benchmark
from prunus.pipeline.config import CompressConfig
from prunus.pipeline.export import export
from prunus.pipeline.models import model_facts
from prunus.pipeline.pictures import save_before_after
from prunus.pipeline.prune import prune
from prunus.pipeline.train import train
from prunus.pipeline.val import val
from prunus.prune.config import PruneConfig
from prunus.report.steps import StepRow, steps_markdown, steps_table
from prunus.train.config import TrainConfig
from prunus.weights.files import load_weights

DENSE, PRUNED = "dense", "pruned"
TABLE, PICTURE = "steps.md", "before-after.jpg"
RUNTIMES = {"torch": "torch fp32", "onnx": "ONNX Runtime"}
"""Runtimes of the benchmark, by their name in BACKENDS, and how the table calls them."""


SHIPPED = "onnx"
"""The runtime whose milliseconds stand for the model in the report."""


@dataclass(frozen=True)
class Model:
    """A weights file with what was measured of it.

    Attributes:
        step: What made it.
        path: The weights.
        metrics: On the validation split.
        test: On the test split, where there is one and it was asked.
        latency_ms: By runtime, where it was timed.
    """

    step: str
    path: Path
    metrics: Mapping[str, Any]
    test: Mapping[str, Any] | None = None
    latency_ms: Mapping[str, float] = field(default_factory=dict)

    def row(self) -> StepRow:
        """Return the model's line of the table."""
        return StepRow(
            step=self.step,
            map50=self.metrics["map50"],
            map50_95=self.metrics["map50_95"],
            test_map50_95=None if self.test is None else self.test["map50_95"],
            **model_facts(load_weights(self.path).detector),
            file_mb=megabytes(self.path),
            latency_ms={RUNTIMES[name]: ms for name, ms in self.latency_ms.items()},
        )

    def facts(self) -> dict[str, object]:
        """Return what the report says of it."""
        return {
            "weights": str(self.path),
            **model_facts(load_weights(self.path).detector),
            "file_mb": megabytes(self.path),
            "latency_ms": self.latency_ms.get(SHIPPED),
            "latency_ms_by_runtime": self.latency_ms,
            "metrics": self.metrics,
            "test_metrics": self.test,
        }


def compress(settings: CompressConfig) -> dict[str, object]:
    """Run the whole chain and return the report.

    Raises:
        PruningError: Nothing could be removed.
    """
    with start("compress", settings) as run:
        run.add_input("data", settings.data)
        if settings.weights is not None:
            run.add_input("weights", settings.weights)
        chain = _Chain(settings, run)
        dense = chain.adapt()
        sparse = chain.train_for_sparsity(dense)
        cut = chain.prune(sparse)
        pruned = chain.finetune(cut, dense)
        before, after = chain.ship(dense, pruned)
        between = [model for model in (sparse, cut) if model not in (dense, pruned)]
        _tell(run, settings, [before, *between, after])
        run.report["before"], run.report["after"] = before.facts(), after.facts()
        return run.finish()


class _Chain:
    """The stages, each a verb with a folder of its own."""

    def __init__(self, settings: CompressConfig, run: Run) -> None:
        self._settings, self._run = settings, run
        self._stage = 0
        self._has_test = "test" in read_data(settings.data).splits

    def adapt(self) -> Model:
        """Train the dense model on the data; without epochs, take the weights as they are."""
        settings = self._settings
        if settings.epochs:
            report = self._train(
                "adapt", settings.epochs, weights=settings.weights, cfg=settings.cfg
            )
            return self._model("adapted, dense", report["best"])
        if settings.weights is None:
            raise ConfigError("--epochs: 0 epochs make nothing of --cfg. Give some, or --weights.")
        return self._model("dense", settings.weights)

    def train_for_sparsity(self, dense: Model) -> Model:
        """Pull gammas to zero. The last epoch counts: the best one is usually early, so dense."""
        settings = self._settings
        if settings.sparsity_epochs == 0:
            return dense
        report = self._train(
            "sparsity", settings.sparsity_epochs, weights=dense.path, sparsity=settings.sparsity
        )
        return self._model("trained for sparsity", report["last"])

    def prune(self, sparse: Model) -> Model:
        """Remove channels."""
        settings = self._settings
        report = self._call(
            prune,
            PruneConfig,
            "prune",
            weights=sparse.path,
            percent=settings.percent,
            criterion=settings.criterion,
            scope=settings.scope,
            round_to=settings.round_to,
            repair=settings.repair,
            latency=False,
        )
        return self._model("pruned", report["weights"])

    def finetune(self, cut: Model, dense: Model) -> Model:
        """Train the pruned model, with the dense one as its teacher; it keeps its shape."""
        settings = self._settings
        if settings.finetune_epochs == 0:
            return cut
        teacher = {"teacher": dense.path, "auto_anchor": False} if settings.distill else {}
        report = self._train("finetune", settings.finetune_epochs, weights=cut.path, **teacher)
        return self._model("fine-tuned, pruned", report["best"])

    def ship(self, dense: Model, pruned: Model) -> tuple[Model, Model]:
        """Put both models beside the table, export, test and time them in one run."""
        before, after = self._place(dense, DENSE), self._place(pruned, PRUNED)
        settings = self._settings
        report = self._call(
            benchmark,
            BenchmarkConfig,
            "benchmark",
            weights=[
                path for m in (before, after) for path in (m.path, m.path.with_suffix(".onnx"))
            ],
            runtimes=list(RUNTIMES),
            threads=settings.threads,
            repeats=settings.repeats,
        )
        latency: dict[str, dict[str, float]] = {}
        for row in report["rows"]:
            stem = Path(row["model"]).stem
            latency.setdefault(stem, {}).setdefault(row["runtime"], row["latency_ms"])
        return replace(before, latency_ms=latency[DENSE]), replace(
            after, latency_ms=latency[PRUNED]
        )

    def _place(self, model: Model, name: str) -> Model:
        """Copy the weights to the run's own folder, export them there, and judge on test."""
        weights = self._run.path(f"{name}{model.path.suffix}")
        shutil.copyfile(model.path, weights)
        report = self._call(export, ExportConfig, f"export-{name}", weights=weights)
        shutil.copyfile(report["files"][0]["path"], weights.with_suffix(".onnx"))
        test = self._judge(weights, "test") if self._has_test else None
        return replace(model, path=weights, test=test)

    def _train(self, stage: str, epochs: int, **values: object) -> dict[str, Any]:
        settings = self._settings
        return self._call(
            train,
            TrainConfig,
            stage,
            epochs=epochs,
            batch_size=settings.batch_size,
            nominal_batch=settings.nominal_batch,
            hyp=settings.hyp,
            patience=settings.patience,
            close_mosaic=round(epochs * settings.close_mosaic),
            precision=settings.precision,
            workers=settings.workers,
            seed=settings.seed,
            **values,
        )

    def _model(self, step: str, weights: str | Path) -> Model:
        """Judge a file on the validation split, in float32, as every figure of the table."""
        return Model(step, Path(weights), self._judge(Path(weights), "val"))

    def _judge(self, weights: Path, split: str) -> Mapping[str, Any]:
        report = self._call(
            val,
            ValConfig,
            f"val-{split}",
            weights=weights,
            split=split,
            precision="fp32",
            plots=False,
        )
        metrics: Mapping[str, Any] = report["metrics"]
        return metrics

    def _call(
        self, verb: Callable[[Any], Mapping[str, object]], kind: Any, stage: str, **values: object
    ) -> dict[str, Any]:
        """Run a verb in the next folder, with the settings that all of them share."""
        settings = self._settings
        self._stage += 1
        folder = self._run.path(f"{self._stage:02d}-{stage}")
        log.info("\n== %s", folder.name)
        shared = {
            "data": settings.data,
            "image_size": settings.image_size,
            "device": settings.device,
            "out": folder,
        }
        known = {name: value for name, value in shared.items() if name in kind.model_fields}
        return dict(verb(parse(kind, {**known, **values}, stage)))


def _tell(run: Run, settings: CompressConfig, models: list[Model]) -> None:
    """Write the table and the picture, and show the table."""
    rows = [model.row() for model in models]
    title = (
        f"\n{settings.data.name} at {settings.image_size} px; batch 1, {settings.threads} thread(s)"
    )
    log.info("%s", steps_table(title, rows))
    write_text(run.path(TABLE), steps_markdown(rows) + "\n")
    save_before_after(
        run.path(PICTURE),
        settings.data,
        settings.image_size,
        (run.path(f"{DENSE}.onnx"), run.path(f"{PRUNED}.onnx")),
        (_caption("before", rows[0]), _caption("after", rows[-1])),
    )
    log.info("\nmodels, %s and %s: %s", TABLE, PICTURE, run.folder)
    run.report["steps"] = [vars(row) for row in rows]


def _caption(word: str, row: StepRow) -> str:
    ms = row.latency_ms[RUNTIMES[SHIPPED]]
    return (
        f"{word}: {row.step}\n{row.params:,} parameters, mAP50-95 {row.map50_95:.3f}, {ms:.1f} ms"
    )
