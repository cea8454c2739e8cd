"""A detector's images, as pruning and its measurements need them."""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np
import torch

from prunus.core.device import resolve_precision
from prunus.core.records import Batch
from prunus.data.index import ImageIndex, build_index
from prunus.data.loader import validation_batches
from prunus.data.spec import read_data
from prunus.evaluate.val import Evaluation, evaluate
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.loss import DetectionLoss, LossGains, scaled_gains
from prunus.model.runner import TorchRunner
from prunus.prune.detectors import calibrate_on
from prunus.prune.evidence import Calibration

KEPT_BYTES = 1 << 30
"""Images that are looked at many times are decoded once if they fit in this."""


class DetectorImages:
    """The data set of one detector: training images to calibrate on, validation ones to judge.

    Attributes:
        validation: The index of the validation split.
        precision: What is judged in.
    """

    def __init__(
        self,
        data: Path,
        detector: Detector,
        *,
        side: int,
        batch_size: int,
        workers: int,
        device: torch.device,
        precision: str = "auto",
    ) -> None:
        """Read the data set's index; nothing is decoded yet."""
        self._data, self._detector, self._device = read_data(data), detector, device
        self._side, self._batch_size, self._workers = side, batch_size, workers
        self.precision = resolve_precision(precision, device)
        self.validation = build_index(self._data, "val")

    def judge(self, detector: Detector) -> Evaluation:
        """Evaluate on the validation split."""
        runner = TorchRunner(fuse(detector), self._device, self.precision)
        return evaluate(runner, self.batches(self.validation), self.validation)

    def calibration(self, count: int) -> Calibration | None:
        """Return so many training images, spread over the split; None for 0."""
        if count == 0:
            return None
        index = spread(build_index(self._data, "train"), count)
        detector = self._detector
        gains = scaled_gains(LossGains(), len(detector.anchors), len(detector.names), self._side)
        return calibrate_on(
            self.kept_batches(index),
            DetectionLoss(detector, gains),
            self._device,
            -(-len(index) // self._batch_size),
        )

    def batches(self, index: ImageIndex) -> Iterable[Batch]:
        """Return the batches of an index, the same ones in the same order each time."""
        return validation_batches(
            index, self._side, self._batch_size, self._detector.stride, workers=self._workers
        )

    def kept_batches(self, index: ImageIndex) -> Callable[[], Iterable[Batch]]:
        """Return what starts `batches` anew; they are decoded once if they fit in KEPT_BYTES."""
        if len(index) * 3 * self._side**2 > KEPT_BYTES:
            return lambda: self.batches(index)
        return cache(lambda: list(self.batches(index)))


def spread(index: ImageIndex, count: int) -> ImageIndex:
    """Return as many images, spread evenly over the index; all of them for 0."""
    if count == 0 or count >= len(index):
        return index
    return index.subset(np.linspace(0, len(index) - 1, count).round().astype(int).tolist())
