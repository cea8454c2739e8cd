"""From files to a training: what `prunus train` and `prunus train --resume` call."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from prunus.core.config import parse
from prunus.core.console import log
from prunus.core.distributed import ALONE, Processes
from prunus.core.errors import TrainingError
from prunus.data.index import ImageIndex, build_index
from prunus.data.spec import read_data
from prunus.model.build import build_detector, renew_
from prunus.model.detector import Detector
from prunus.model.spec import read_arch
from prunus.model.swap import set_activation_
from prunus.train.checkpoint import LAST, STATE, detector_of, newest_state
from prunus.train.config import TrainConfig
from prunus.train.distill import check_teacher
from prunus.train.images import as_one_class
from prunus.train.logs import count_results
from prunus.train.progress import Origin, TrainResult, origin_of
from prunus.train.run import train
from prunus.weights.files import load_weights
from prunus.weights.transfer import adapt_classes

Splits = tuple[ImageIndex, ImageIndex]
"""Images to learn from, and those to judge by."""
Show = Callable[[ImageIndex, int], None]
"""Gets the training images and the detector's stride."""


def run(
    settings: TrainConfig,
    folder: Path,
    processes: Processes = ALONE,
    *,
    show: Show | None = None,
) -> TrainResult:
    """Train as the settings say, into a new run folder.

    Args:
        settings: How.
        folder: Where to.
        processes: Who else trains.
        show: Called before the first step.

    Raises:
        PrunusError: Files or settings cannot be used.
        KeyboardInterrupt: The training was interrupted; its state is saved.
        SystemExit: By SIGTERM; its state is saved.
    """
    if settings.teacher_features and settings.teacher is None:
        raise TrainingError(
            f"--teacher-features {settings.teacher_features:g}: does nothing without a teacher. "
            "Add --teacher FILE, or leave it out."
        )
    splits = read_splits(settings)
    torch.manual_seed(settings.seed)
    detector, origin = starting_point(settings, splits[0].names)
    return _train(detector, origin, splits, settings, folder, processes, show)


def saved_settings(folder: Path) -> TrainConfig:
    """Return the settings that the training in a run folder was started with.

    Raises:
        TrainingError: There is nothing to go on with.
    """
    state, _ = newest_state(folder)
    return parse(TrainConfig, state["settings"], str(folder / STATE))


def resume(folder: Path, processes: Processes = ALONE, *, unreported: bool = False) -> TrainResult:
    """Go on with the training in a run folder, with the settings that it was started with.

    Args:
        folder: The run folder; only the first process needs to have it.
        processes: Who else trains.
        unreported: Whether to accept one that has finished its epochs, for its result.

    Raises:
        TrainingError: There is nothing to go on with.
        KeyboardInterrupt: The training was interrupted; its state is saved.
        SystemExit: By SIGTERM; its state is saved.
    """
    state, problem = processes.tell(newest_state(folder) if processes.first else ({}, ""))
    if problem:
        log.warning("%s", problem)
    settings = parse(TrainConfig, state["settings"], str(folder / STATE))
    ended = state["position"]["epoch"] >= settings.epochs
    reported = not unreported and count_results(folder) == len(state["progress"]["rows"])
    if ended and processes.tell(reported):
        raise TrainingError(
            f"{folder}: this training has finished its {settings.epochs} epochs. To train further, "
            f"start a new one: --weights {folder / LAST}."
        )
    splits = read_splits(settings)
    detector, origin = detector_of(state, str(folder / STATE)), origin_of(state)
    log.info(
        "resuming %s in epoch %d, after %d batches",
        folder,
        state["position"]["epoch"] + 1,
        state["position"]["batch"],
    )
    return _train(detector, origin, splits, settings, folder, processes)


def _train(
    detector: Detector,
    origin: Origin,
    splits: Splits,
    settings: TrainConfig,
    folder: Path,
    processes: Processes,
    show: Show | None = None,
) -> TrainResult:
    """Read the teacher, if there is one, and train."""
    teacher, origin = _read_teacher(settings, detector, origin)
    training, validation = splits
    if show is not None:
        show(training, detector.stride)
    return train(
        detector,
        training,
        validation,
        settings,
        folder,
        origin=origin,
        teacher=teacher,
        processes=processes,
    )


def _read_teacher(
    settings: TrainConfig, student: Detector, origin: Origin
) -> tuple[Detector | None, Origin]:
    """Return the teacher, and the origin with its fingerprint; resumed, it must be the same."""
    if settings.teacher is None:
        return None, origin
    where = f"--teacher {settings.teacher}"
    checkpoint = load_weights(settings.teacher)
    if origin.teacher not in ("", checkpoint.sha256):
        raise TrainingError(
            f"{where}: another file than the one that this training began with. Put that one back."
        )
    check_teacher(checkpoint.detector, student, where)
    return checkpoint.detector, replace(origin, teacher=checkpoint.sha256)


def read_splits(settings: TrainConfig) -> Splits:
    """Return the images to learn from and those to judge by, as the settings want their classes.

    Raises:
        TrainingError: No data set is given.
        DataError: It cannot be used.
    """
    if settings.data is None:
        raise TrainingError("--data: is needed. Give the YAML file of a data set.")
    spec = read_data(settings.data)
    training, validation = build_index(spec, "train"), build_index(spec, "val")
    if settings.single_cls:
        return as_one_class(training), as_one_class(validation)
    return training, validation


def starting_point(settings: TrainConfig, names: tuple[str, ...]) -> tuple[Detector, Origin]:
    """Return the detector to train, with the data's classes, and where it came from."""
    if (settings.weights is None) == (not settings.cfg):
        raise TrainingError(
            "give either --weights FILE to start from, or --cfg yolov5n to start from scratch."
        )
    detector, origin = _untouched_start(settings, names)
    if settings.activation not in (None, detector.spec.activation):
        log.info("activation: %s instead of %s", settings.activation, detector.spec.activation)
        set_activation_(detector, settings.activation)
    return detector, origin


def _untouched_start(settings: TrainConfig, names: tuple[str, ...]) -> tuple[Detector, Origin]:
    """Return it with the activation that its weights or architecture have."""
    if settings.weights is None:
        if settings.fresh:
            raise TrainingError("--fresh: takes the shape of --weights. Give them.")
        return build_detector(read_arch(settings.cfg), names), Origin()
    checkpoint = load_weights(settings.weights)
    detector = checkpoint.detector
    if detector.names != names:
        detector, carried = adapt_classes(detector, names)
        log.info("%s: other classes than the data set's: %s", settings.weights, carried.summary())
    if settings.fresh:
        renew_(detector)
        log.info("%s: its shape with fresh weights", settings.weights)
    return detector, Origin(checkpoint.history, checkpoint.licence, checkpoint.sha256)
