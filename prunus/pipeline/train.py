"""`train`: data (+ weights) → best and last weights, results.csv, TensorBoard events, report."""

from pathlib import Path

from prunus.core.console import log, table
from prunus.core.runs import Run, reopen, start
from prunus.pipeline.models import model_facts
from prunus.train import start as training
from prunus.train.config import TrainConfig
from prunus.train.session import TrainResult
from prunus.weights.files import load_weights

SHOWN = ("precision", "recall", "map50", "map50_95")


def train(settings: TrainConfig) -> dict[str, object]:
    """Train, fine-tune or resume, and return the report.

    Raises:
        TrainingError: Nothing to train from, on or with.
    """
    if settings.resume is not None:
        saved = training.saved_settings(settings.resume)
        with reopen("train", settings.resume, saved) as run:
            return _finish(run, saved, training.resume(settings.resume))
    with start("train", settings) as run:
        return _finish(run, settings, training.run(settings, run.folder))


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
