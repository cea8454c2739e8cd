"""`train`: data (+ weights) → best and last weights, results.csv, TensorBoard events, report."""

from pathlib import Path

import yaml

from prunus.core.console import log, table
from prunus.core.files import write_text
from prunus.core.runs import CONFIG, REPORT, Run, reopen, start
from prunus.pipeline.models import model_facts
from prunus.train import start as training
from prunus.train.config import MEASURED_BATCH, TrainConfig
from prunus.train.find import find_run
from prunus.train.preview import preview
from prunus.train.progress import TrainResult
from prunus.weights.files import load_weights

SHOWN = ("precision", "recall", "map50", "map50_95")


def train(settings: TrainConfig) -> dict[str, object]:
    """Train, fine-tune or resume, and return the report.

    Raises:
        TrainingError: Nothing to train from, on or with.
    """
    if settings.resume is not None:
        folder = find_run(settings.resume, settings.project)
        saved = training.saved_settings(folder)
        with reopen("train", folder, saved) as run:
            unreported = not run.path(REPORT).is_file()
            return _finish(run, saved, training.resume(folder, unreported=unreported))
    if settings.dry_run:
        return preview(settings)
    with start("train", settings) as run:
        result = training.run(settings, run.folder)
        if settings.batch_size == MEASURED_BATCH:
            settings = training.saved_settings(run.folder)
            _rewrite_settings(run, settings)
        return _finish(run, settings, result)


def _rewrite_settings(run: Run, settings: TrainConfig) -> None:
    """Record the batch size that was measured, instead of the wish to have it measured."""
    run.settings = settings.model_dump(mode="json")
    text = yaml.safe_dump(run.settings, sort_keys=False, allow_unicode=True)
    write_text(run.path(CONFIG), text)


def _finish(run: Run, settings: TrainConfig, result: TrainResult) -> dict[str, object]:
    for role in ("data", "weights"):
        path: Path | None = getattr(settings, role)
        if path is not None:
            run.add_input(role, path)
    run.report = {
        "model": model_facts(load_weights(result.best).detector),
        "metrics": result.metrics,
        "best": str(result.best),
        "last": str(result.last),
        "best_epoch": result.best_epoch + 1,
        "epochs": len(result.epochs),
        "training_seconds": round(result.seconds, 1),
    }
    title = f"best epoch {result.best_epoch + 1} of {len(result.epochs)}: {result.best}"
    rows = [(key, f"{result.metrics[key]:.3f}") for key in SHOWN]
    log.info("%s", table(title, ("metric", "value"), rows))
    return run.finish()
