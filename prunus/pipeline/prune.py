"""`prune`: weights (+ data) → fewer channels, really removed; before and after side by side."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from prunus.core.console import log
from prunus.core.device import resolve_precision, select_device
from prunus.core.runs import start
from prunus.data.index import ImageIndex, build_index
from prunus.data.loader import ValidationBatches, validation_batches
from prunus.data.spec import read_data
from prunus.evaluate.val import Evaluation, evaluate
from prunus.export.benchmark import measure_latency
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.runner import TorchRunner
from prunus.pipeline.models import model_facts, rounded_size, stored_megabytes
from prunus.prune import run as pruning
from prunus.prune.config import PruneConfig
from prunus.report.steps import StepRow, steps_table
from prunus.weights.files import load_weights
from prunus.weights.history import Step
from prunus.weights.native import SUFFIX, save_weights

PRUNED = f"pruned{SUFFIX}"


def prune(settings: PruneConfig) -> dict[str, object]:
    """Remove channels, write the smaller model, and return the report.

    Raises:
        PruningError: Nothing could be removed.
    """
    with start("prune", settings) as run:
        run.add_input("weights", settings.weights)
        checkpoint = load_weights(settings.weights)
        images = None
        if settings.data is not None:
            run.add_input("data", settings.data)
            images = _Images(settings, settings.data, checkpoint.detector.stride)
        dense_metrics = {} if images is None else images.judge(checkpoint.detector).metrics()
        result = pruning.prune(
            checkpoint.detector,
            criterion=settings.criterion,
            percent=settings.percent,
            scope=settings.scope,
            round_to=settings.round_to,
            min_channels=settings.min_channels,
            keep=settings.keep,
            calibration=images.calibration() if images is not None else None,
        )
        log.info("%s", result.table())
        detectors = {"before": checkpoint.detector, "after": result.detector}
        metrics = {
            "before": dense_metrics,
            "after": {} if images is None else images.judge(result.detector).metrics(),
        }
        sides = _sides(detectors, metrics, settings)
        step = Step("prune", run.settings, checkpoint.sha256, sides["after"].metrics)
        save_weights(
            result.detector,
            run.path(PRUNED),
            history=(*checkpoint.history, step),
            licence=checkpoint.licence,
        )
        log.info("%s", steps_table(f"before and after: {run.path(PRUNED)}", _rows(sides)))
        run.report = {
            "weights": str(run.path(PRUNED)),
            "before": sides["before"].facts(),
            "after": sides["after"].facts(),
            "widths": [vars(width) for width in result.selection.widths],
            "asked": result.selection.asked,
            "achieved": result.selection.achieved,
            "error": result.error,
            "recalibration": _outcome(result.recalibration),
        }
        return run.finish()


def _outcome(recalibration: pruning.Recalibration | None) -> dict[str, object] | None:
    if recalibration is None:
        return None
    return {**vars(recalibration), "kept": recalibration.kept}


@dataclass(frozen=True)
class _Side:
    """One side of the comparison."""

    model: dict[str, Any]
    file_mb: float
    latency_ms: float | None
    metrics: dict[str, Any]

    def facts(self) -> dict[str, object]:
        return {
            **self.model,
            "file_mb": self.file_mb,
            "latency_ms": self.latency_ms,
            "metrics": self.metrics or None,
        }


class _Images:
    """The data set, as pruning needs it: training images to calibrate on, validation to judge."""

    def __init__(self, settings: PruneConfig, data: Path, stride: int) -> None:
        self._settings, self._stride = settings, stride
        self._side = rounded_size(settings.image_size, stride)
        self._data = read_data(data)
        self._validation = build_index(self._data, "val")
        self._device = select_device(settings.device)

    def judge(self, detector: Detector) -> Evaluation:
        """Evaluate on the validation split."""
        runner = TorchRunner(fuse(detector), self._device, resolve_precision("auto", self._device))
        return evaluate(runner, self._batches(self._validation), self._validation)

    def calibration(self) -> pruning.Calibration | None:
        """Return training images and the judge, unless no images are wanted."""
        if self._settings.calibration_images == 0:
            return None
        return pruning.Calibration(self._training(), lambda d: self.judge(d).map50_95)

    def _training(self) -> Iterator[Tensor]:
        """Yield batches of training images, as many images as the settings say."""
        left = self._settings.calibration_images
        for batch in self._batches(build_index(self._data, "train")):
            if left <= 0:
                return
            yield batch.images[:left].float() / 255
            left -= len(batch.images)

    def _batches(self, index: ImageIndex) -> ValidationBatches:
        settings = self._settings
        return validation_batches(
            index, self._side, settings.batch_size, self._stride, workers=settings.workers
        )


def _sides(
    detectors: Mapping[str, Detector],
    metrics: Mapping[str, dict[str, Any]],
    settings: PruneConfig,
) -> dict[str, _Side]:
    """Put together what is known of both detectors; they are timed in one interleaved run."""
    latency = _latency(detectors, settings) if settings.latency else {}
    return {
        name: _Side(
            model_facts(detector), stored_megabytes(detector), latency.get(name), metrics[name]
        )
        for name, detector in detectors.items()
    }


def _latency(detectors: Mapping[str, Detector], settings: PruneConfig) -> dict[str, float]:
    device = select_device(settings.device)
    runners = {name: TorchRunner(fuse(d), device, "fp32") for name, d in detectors.items()}
    side = rounded_size(settings.image_size, max(d.stride for d in detectors.values()))
    measured = measure_latency(runners, (side, side))
    return {name: latency.median_ms for name, latency in measured.items()}


def _rows(sides: Mapping[str, _Side]) -> list[StepRow]:
    return [
        StepRow(
            step=name,
            map50=side.metrics.get("map50"),
            map50_95=side.metrics.get("map50_95"),
            params=side.model["params"],
            gflops=side.model["gflops"],
            file_mb=side.file_mb,
            latency_ms={} if side.latency_ms is None else {"torch fp32": side.latency_ms},
        )
        for name, side in sides.items()
    ]
