"""`train`: data (+ weights) → best and last weights, results.csv, TensorBoard events, report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from prunus.core.config import parse
from prunus.core.console import log, table
from prunus.core.errors import ConfigError
from prunus.core.runs import Run, reopen, start
from prunus.data.index import build_index
from prunus.data.spec import DataSpec, read_data
from prunus.model.build import build_detector
from prunus.model.channels.trace import trace
from prunus.model.detector import Detector
from prunus.model.spec import read_arch
from prunus.pipeline.models import model_facts
from prunus.prune.groups import prunable_norms
from prunus.train import run as training
from prunus.train.checkpoint import STATE, read_state
from prunus.train.config import TrainConfig
from prunus.weights.files import load_weights
from prunus.weights.transfer import adapt_classes

DEFAULT_ARCH = "yolov5n"


def train(settings: TrainConfig) -> dict[str, object]:
    """Train, fine-tune or resume, and return the report.

    Raises:
        ConfigError: No data, or two places to start from.
    """
    if settings.resume is not None:
        return _resume(settings.resume)
    _check(settings)
    with start("train", settings) as run:
        return _train(run, settings, state=None)


def _resume(folder: Path) -> dict[str, object]:
    state = read_state(folder / STATE)
    settings = parse(TrainConfig, state["settings"], str(folder / STATE))
    log.info(
        "going on with %s after epoch %d of %d",
        folder,
        len(state["progress"]["rows"]),
        settings.epochs,
    )
    with reopen("train", folder, settings) as run:
        return _train(run, settings, state)


def _train(run: Run, settings: TrainConfig, state: Mapping[str, Any] | None) -> dict[str, object]:
    assert settings.data is not None
    data = read_data(settings.data)
    run.add_input("data", settings.data)
    torch.manual_seed(settings.seed)
    detector, origin = _start_from(settings, data, run)
    result = training.train(
        detector,
        build_index(data, "train"),
        build_index(data, "val"),
        settings,
        run.folder,
        origin=origin,
        norms=_norms_to_pull(detector) if settings.sparsity is not None else None,
        state=state,
    )
    run.report = {
        "model": model_facts(detector),
        "metrics": result.metrics,
        "best": str(result.best),
        "last": str(result.last),
        "best_epoch": result.best_epoch + 1,
        "epochs": len(result.epochs),
        "training_seconds": round(result.seconds, 1),
    }
    log.info("%s", _closing_table(run.report))
    return run.finish()


def _check(settings: TrainConfig) -> None:
    if settings.data is None:
        raise ConfigError("--data: is needed: the YAML of the data set to train on.")
    if settings.weights is not None and settings.cfg:
        raise ConfigError("--cfg: --weights brings its own architecture. Give one of the two.")


def _start_from(
    settings: TrainConfig, data: DataSpec, run: Run
) -> tuple[Detector, training.Origin]:
    if settings.weights is None:
        arch = settings.cfg or DEFAULT_ARCH
        log.info("from scratch: %s with %d classes", arch, len(data.names))
        return build_detector(read_arch(arch), data.names), training.Origin()
    run.add_input("weights", settings.weights)
    checkpoint = load_weights(settings.weights)
    detector = checkpoint.detector
    if detector.names != data.names:
        detector, transfer = adapt_classes(detector, data.names)
        log.info("%s", transfer.summary())
    return detector, training.Origin(checkpoint.history, checkpoint.licence, checkpoint.sha256)


def _norms_to_pull(detector: Detector) -> list[str]:
    """Name the batch norms whose channels pruning could remove."""
    side = 2 * detector.stride
    return prunable_norms(trace(detector, torch.zeros(1, 3, side, side)))


def _closing_table(report: Mapping[str, Any]) -> str:
    metrics = report["metrics"]
    rows = [
        (key, f"{metrics[key]:.3f}")
        for key in ("precision", "recall", "map50", "map50_95")
        if metrics.get(key) is not None
    ]
    title = f"best epoch {report['best_epoch']} of {report['epochs']}: {report['best']}"
    return table(title, ("metric", "value"), rows)
