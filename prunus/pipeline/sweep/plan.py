"""Which trials there are: the points of the grid, all checked before the first second is spent."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from prunus.core.config import parse
from prunus.core.errors import ConfigError
from prunus.data.index import build_index
from prunus.data.spec import read_data
from prunus.evaluate.config import Split, ValConfig
from prunus.export.config import BenchmarkConfig
from prunus.pipeline.sweep.config import SweepConfig
from prunus.pipeline.sweep.point import Point
from prunus.prune.config import PruneConfig
from prunus.prune.criteria import find_criterion
from prunus.train.config import TrainConfig
from prunus.weights.files import load_weights

REPEATS = 30
"""Timed runs of each model."""


@dataclass(frozen=True)
class Files:
    """What every trial reads, and where all of them write: absolute, for other machines too."""

    weights: Path
    data: Path
    folder: Path


@dataclass(frozen=True)
class Inputs:
    """What a sweep is made of.

    Attributes:
        weights: Absolute.
        data: The same.
        images: Number of them in each split that trials look at.
    """

    weights: Path
    data: Path
    images: Mapping[Split, int]


def check_files(settings: SweepConfig) -> Inputs:
    """Look into weights and data.

    Raises:
        PrunusError: One of them is missing or cannot be used, or they do not fit together.
    """
    assert settings.weights is not None and settings.data is not None
    detector = load_weights(settings.weights).detector
    spec = read_data(settings.data)
    if len(spec.names) != len(detector.names):
        raise ConfigError(
            f"--data: {settings.data} has {len(spec.names)} classes, {settings.weights} has "
            f"{len(detector.names)}. Train the model on this data set first."
        )
    trained_on = settings.calibration_images or settings.finetune_epochs
    splits: tuple[Split, ...] = ("train", "val") if trained_on else ("val",)
    images = {split: len(build_index(spec, split)) for split in splits}
    return Inputs(settings.weights.resolve(), settings.data.resolve(), images)


def grid(settings: SweepConfig) -> list[Point]:
    """Return the points of the grid, each once, in the order of the axes; seeds come last.

    Raises:
        ConfigError: A point cannot be pruned with.
        PruningError: There is no such criterion.
    """
    seeds = range(settings.seed, settings.seed + settings.seeds)
    axes = product(
        seeds,
        settings.repair,
        settings.scope,
        settings.round_to,
        settings.criterion,
        settings.amounts,
    )
    points = [
        checked(Point(criterion, repair, scope, round_to, settings.budget, amount, seed), settings)
        for seed, repair, scope, round_to, criterion, amount in axes
    ]
    return list(dict.fromkeys(points))


def checked(point: Point, settings: SweepConfig) -> Point:
    """Return a point with its amount as `prune` reads it: 50 is 0.5.

    Raises:
        ConfigError: It cannot be pruned with.
        PruningError: There is no such criterion.
    """
    find_criterion(point.criterion, None)
    parsed = parse(PruneConfig, _prune_values(point, settings), str(point))
    return replace(point, amount=getattr(parsed, point.budget))


def job(number: int, point: Point | None, settings: SweepConfig, files: Files) -> dict[str, object]:
    """Return what a worker needs to run a trial: plain JSON, with absolute paths.

    Args:
        number: Of the trial.
        point: What to prune; None to judge the dense model.
        settings: Of the sweep.
        files: What is read, and where to.
    """
    stages: dict[str, Mapping[str, object]] = {}
    if point is not None:
        stages["prune"] = {**_prune_values(point, settings), "latency": False}
        if settings.finetune_epochs:
            stages["train"] = _train_values(point, settings)
    stages["val"] = _val_values(settings)
    if settings.timed_in is not None and point is not None:
        stages["benchmark"] = _benchmark_values(settings, settings.timed_in)
    return {
        "number": number,
        "weights": str(files.weights),
        "data": str(files.data),
        "folder": str(files.folder),
        "stages": stages,
    }


def check_stages(settings: SweepConfig) -> None:
    """Check the settings of what comes after the cut.

    Raises:
        ConfigError: One of them is wrong.
    """
    (one, *_) = grid(settings)
    weights = str(settings.weights)
    parse(ValConfig, {**_val_values(settings), "weights": weights, "data": settings.data}, "val")
    if settings.finetune_epochs:
        parse(TrainConfig, {**_train_values(one, settings), "weights": weights}, "train")
    if settings.timed_in is not None:
        values = _benchmark_values(settings, settings.timed_in)
        parse(BenchmarkConfig, {**values, "weights": [weights]}, "benchmark")


def _prune_values(point: Point, settings: SweepConfig) -> dict[str, object]:
    return {
        **point.prune_values(),
        "weights": str(settings.weights),
        "data": str(settings.data),
        "runtime": settings.timed_in or "onnx",
        "threads": settings.threads,
        "calibration_images": settings.calibration_images,
        **_shared(settings),
    }


def _train_values(point: Point, settings: SweepConfig) -> dict[str, object]:
    """Return the settings of the fine-tune; the last epoch alone is judged."""
    return {
        "epochs": settings.finetune_epochs,
        "hyp": _absolute(settings.hyp),
        "nominal_batch": settings.nominal_batch,
        "close_mosaic": 0.2,
        "auto_anchor": False,
        "patience": 0,
        "val_every": settings.finetune_epochs,
        "plots": False,
        "seed": point.seed,
        **_shared(settings),
    }


def _absolute(hyp: str) -> str:
    """Return a preset's name as it is, and a file's path as any worker finds it."""
    path = Path(hyp)
    return str(path.resolve()) if path.is_file() else hyp


def _val_values(settings: SweepConfig) -> dict[str, object]:
    return {"precision": "fp32", "plots": False, "save_json": False, **_shared(settings)}


def _benchmark_values(settings: SweepConfig, runtime: str) -> dict[str, object]:
    return {
        "runtimes": [runtime],
        "threads": settings.threads,
        "image_size": settings.image_size,
        "repeats": REPEATS,
    }


def _shared(settings: SweepConfig) -> dict[str, object]:
    return {
        "image_size": settings.image_size,
        "batch_size": settings.batch_size,
        "device": settings.device,
    }
