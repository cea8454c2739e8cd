"""From files to a training: what `prunus train` and `prunus train --resume` call."""

from pathlib import Path

import torch

from prunus.core.config import parse
from prunus.core.console import log
from prunus.core.errors import TrainingError
from prunus.data.index import ImageIndex, build_index
from prunus.data.spec import read_data
from prunus.model.build import build_detector
from prunus.model.detector import Detector
from prunus.model.spec import read_arch
from prunus.train.checkpoint import LAST, STATE, read_state
from prunus.train.config import TrainConfig
from prunus.train.distill import check_teacher
from prunus.train.run import train
from prunus.train.session import Origin, TrainResult
from prunus.weights.files import load_weights
from prunus.weights.transfer import adapt_classes


def run(settings: TrainConfig, folder: Path) -> TrainResult:
    """Train as the settings say, into a new run folder.

    Raises:
        PrunusError: Files or settings cannot be used.
        KeyboardInterrupt: The training was interrupted; its state is saved.
    """
    training, validation = _read_splits(settings)
    torch.manual_seed(settings.seed)
    detector, origin = _starting_point(settings, training.names)
    teacher = _read_teacher(settings, detector)
    return train(detector, training, validation, settings, folder, origin=origin, teacher=teacher)


def saved_settings(folder: Path) -> TrainConfig:
    """Return the settings that the training in a run folder was started with.

    Raises:
        TrainingError: There is nothing to go on with.
    """
    return parse(TrainConfig, read_state(folder / STATE)["settings"], str(folder / STATE))


def resume(folder: Path) -> TrainResult:
    """Go on with the training in a run folder, with the settings that it was started with.

    Raises:
        TrainingError: There is nothing to go on with.
        KeyboardInterrupt: The training was interrupted; its state is saved.
    """
    state = read_state(folder / STATE)
    settings = parse(TrainConfig, state["settings"], str(folder / STATE))
    if state["position"]["epoch"] >= settings.epochs:
        raise TrainingError(
            f"{folder}: this training has finished its {settings.epochs} epochs. To train further, "
            f"start a new one: --weights {folder / LAST}."
        )
    training, validation = _read_splits(settings)
    last = load_weights(folder / LAST)
    steps, this = last.history[:-1], last.history[-1]
    origin = Origin(steps, last.licence, this.parent, state)
    log.info("resuming %s in epoch %d", folder, state["position"]["epoch"] + 1)
    detector = last.detector
    teacher = _read_teacher(settings, detector)
    return train(detector, training, validation, settings, folder, origin=origin, teacher=teacher)


def _read_teacher(settings: TrainConfig, student: Detector) -> Detector | None:
    if settings.teacher is None:
        return None
    teacher = load_weights(settings.teacher).detector
    check_teacher(teacher, student, f"--teacher {settings.teacher}")
    return teacher


def _read_splits(settings: TrainConfig) -> tuple[ImageIndex, ImageIndex]:
    if settings.data is None:
        raise TrainingError("--data: is needed. Give the YAML file of a data set.")
    spec = read_data(settings.data)
    return build_index(spec, "train"), build_index(spec, "val")


def _starting_point(settings: TrainConfig, names: tuple[str, ...]) -> tuple[Detector, Origin]:
    """Return the detector to train, with the data's classes, and where it came from."""
    if (settings.weights is None) == (not settings.cfg):
        raise TrainingError(
            "give either --weights FILE to start from, or --cfg yolov5n to start from scratch."
        )
    if settings.weights is None:
        return build_detector(read_arch(settings.cfg), names), Origin()
    checkpoint = load_weights(settings.weights)
    detector = checkpoint.detector
    if detector.names != names:
        detector, carried = adapt_classes(detector, names)
        log.info("%s: other classes than the data set's: %s", settings.weights, carried.summary())
    return detector, Origin(checkpoint.history, checkpoint.licence, checkpoint.sha256)
