"""`train`: data (+ weights) → best and last weights, results.csv, TensorBoard events, report."""

import logging
from functools import partial
from pathlib import Path
from typing import NamedTuple

from prunus.core.console import log, table
from prunus.core.device import select_device
from prunus.core.distributed import Processes, processes
from prunus.core.files import write_text
from prunus.core.runs import CONFIG, REPORT, Run, only_begun, reopen, settings_text, start
from prunus.pipeline.models import model_facts
from prunus.pipeline.pictures import TRAINING_PICTURES, save_training_pictures
from prunus.pipeline.resume import begun_settings, run_to_resume
from prunus.report.training import plot_training
from prunus.train import start as training
from prunus.train.config import MEASURED_BATCH, TrainConfig
from prunus.train.find import VERB
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
            _follow(settings, together)
            return {}
        folder = run_to_resume(settings)
        if folder is None:
            run = start(VERB, settings, TRAINING_PICTURES)
            return _begin(run, settings, Task(run.folder), together)
        if not only_begun(folder, TRAINING_PICTURES):
            return _resume(folder, together)
        saved = begun_settings(folder)
        log.info("%s: nothing had been saved there, so it begins again", folder)
        return _begin(reopen(VERB, folder, saved), saved, Task(folder, settings=saved), together)


class Task(NamedTuple):
    """What the first process has found out that there is to do.

    Attributes:
        folder: Where.
        resumes: Whether to go on with the training there.
        unreported: As for `training.resume`.
        settings: Of a training that is begun again; None for those of the command.
    """

    folder: Path = Path()
    resumes: bool = False
    unreported: bool = False
    settings: TrainConfig | None = None


def _follow(settings: TrainConfig, together: Processes) -> None:
    """Do what the first process says, in silence: it speaks for all."""
    log.setLevel(logging.ERROR)
    task = together.tell(Task())
    if task.resumes:
        training.resume(task.folder, together, unreported=task.unreported)
    else:
        training.run(task.settings or settings, task.folder, together)


def _begin(run: Run, settings: TrainConfig, task: Task, together: Processes) -> dict[str, object]:
    with run:
        together.tell(task)
        show = partial(save_training_pictures, run.folder, settings) if settings.plots else None
        result = training.run(settings, run.folder, together, show=show)
        if settings.batch_size == MEASURED_BATCH:
            settings = training.saved_settings(run.folder)
            _rewrite_settings(run, settings)
        return _finish(run, settings, result)


def _resume(folder: Path, together: Processes) -> dict[str, object]:
    saved = training.saved_settings(folder)
    with reopen(VERB, folder, saved) as run:
        task = together.tell(Task(folder, True, not run.path(REPORT).is_file()))
        result = training.resume(folder, together, unreported=task.unreported)
        return _finish(run, saved, result)


def _rewrite_settings(run: Run, settings: TrainConfig) -> None:
    """Record the batch size that was measured, instead of the wish to have it measured."""
    run.settings = settings.model_dump(mode="json")
    write_text(run.path(CONFIG), settings_text(settings))


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
