"""`train`: data (+ weights) → best and last weights, results.csv, TensorBoard events, report."""

import logging
from functools import partial
from pathlib import Path
from typing import NamedTuple

import yaml

from prunus.core.console import log, table
from prunus.core.device import select_device
from prunus.core.distributed import Processes, processes, restarted
from prunus.core.errors import TrainingError
from prunus.core.files import write_text
from prunus.core.runs import CONFIG, REPORT, Run, reopen, start
from prunus.pipeline.models import model_facts
from prunus.pipeline.pictures import save_training_pictures
from prunus.report.training import plot_training
from prunus.train import start as training
from prunus.train.config import MEASURED_BATCH, TrainConfig
from prunus.train.find import AUTO, find_run
from prunus.train.loggers import check_loggers
from prunus.train.preview import preview
from prunus.train.progress import TrainResult
from prunus.weights.files import load_weights

CURVES = "curves.png"
SHOWN = ("precision", "recall", "map50", "map50_95")


def train(settings: TrainConfig) -> dict[str, object]:
    """Train, fine-tune or resume, and return the report; empty in all but the first process.

    Raises:
        TrainingError: Nothing to train from, on or with.
    """
    if settings.dry_run:
        return preview(settings)
    check_loggers(settings.loggers)
    with processes(select_device(settings.device).type) as together:
        if not together.first:
            log.setLevel(logging.ERROR)  # the first one speaks for all
            task = together.tell(Task())
            if task.resumes:
                training.resume(task.folder, together, unreported=task.unreported)
            else:
                training.run(settings, task.folder, together)
            return {}
        folder = _run_to_resume(settings)
        if folder is not None:
            return _resume(folder, together)
        with start("train", settings) as run:
            together.tell(Task(run.folder))
            show = partial(save_training_pictures, run.folder, settings) if settings.plots else None
            result = training.run(settings, run.folder, together, show=show)
            if settings.batch_size == MEASURED_BATCH:
                settings = training.saved_settings(run.folder)
                _rewrite_settings(run, settings)
            return _finish(run, settings, result)


class Task(NamedTuple):
    """What the first process has found out that there is to do."""

    folder: Path = Path()
    resumes: bool = False
    unreported: bool = False


def _resume(folder: Path, together: Processes) -> dict[str, object]:
    saved = training.saved_settings(folder)
    with reopen("train", folder, saved) as run:
        task = together.tell(Task(folder, True, not run.path(REPORT).is_file()))
        result = training.resume(folder, together, unreported=task.unreported)
        return _finish(run, saved, result)


def _run_to_resume(settings: TrainConfig) -> Path | None:
    """Return the run to go on with: the one that is asked for, or that `torchrun` restarts."""
    if settings.resume is not None:
        return find_run(settings.resume, settings.project)
    if not restarted():
        return None
    try:
        folder = find_run(AUTO, settings.project) if settings.out is None else settings.out
        same = training.saved_settings(folder) == settings
    except TrainingError:  # it had not saved anything yet
        return None
    return folder if same else None


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
    if settings.plots:
        plot_training(run.path(CURVES), result.epochs, result.best_epoch)
    title = f"best epoch {result.best_epoch + 1} of {len(result.epochs)}: {result.best}"
    rows = [(key, f"{result.metrics[key]:.3f}") for key in SHOWN]
    log.info("%s", table(title, ("metric", "value"), rows))
    return run.finish()
