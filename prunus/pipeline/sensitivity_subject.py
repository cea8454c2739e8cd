"""What `sensitivity` measures: a detector with its images, its judge and the order of removal."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from prunus.core.device import resolve_precision, select_device
from prunus.core.errors import PruningError, suggest
from prunus.core.records import Batch
from prunus.data.index import ImageIndex, build_index
from prunus.data.loader import ValidationBatches, validation_batches
from prunus.data.spec import read_data
from prunus.evaluate.val import evaluate
from prunus.model.channels.trace import trace
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.loss import DetectionLoss, LossGains, scaled_gains
from prunus.model.runner import TorchRunner
from prunus.pipeline.models import rounded_size
from prunus.prune.criteria import CRITERIA
from prunus.prune.evidence import Calibration, Evidence
from prunus.prune.sensitivity.config import SensitivityConfig
from prunus.prune.sensitivity.likeness import Likeness
from prunus.prune.sensitivity.points import Judge

ACCURACY, LIKENESS = "map50_95", "likeness"
KEPT_BYTES = 1 << 30
"""Validation images are decoded once if they fit in this, or else for every point."""


class Subject:
    """The detector that is measured, with its images and its judge.

    Attributes:
        network: With its batch norms folded, on the device: what is masked.
        probe: What it is traced with.
        score: What the judge measures: ACCURACY or LIKENESS.
    """

    def __init__(self, settings: SensitivityConfig, data: Path, detector: Detector) -> None:
        self._settings, self._detector = settings, detector
        self._device = select_device(settings.device)
        self._precision = resolve_precision("auto", self._device)
        self._side = rounded_size(settings.image_size, detector.stride)
        self._data = read_data(data)
        self.score = LIKENESS if settings.quick else ACCURACY
        self.probe = torch.zeros(1, 3, 2 * detector.stride, 2 * detector.stride).to(self._device)
        self.network = TorchRunner(fuse(detector), self._device, self._precision).detector

    @cached_property
    def judge(self) -> Judge:
        """Return what scores a network; made while the network is whole."""
        if self._settings.quick:
            return Likeness(self.network, list(self._images()))
        index = _spread(build_index(self._data, "val"), self._settings.images)
        batches = _decoded(self._batches(index), len(index) * 3 * self._side**2)

        def accuracy(network: nn.Module) -> float:
            assert isinstance(network, Detector)
            runner = TorchRunner(network, self._device, self._precision)
            return evaluate(runner, batches, index, coco=False).map50_95

        return accuracy

    def dense(self) -> float:
        """Return the score of the whole network.

        Raises:
            PruningError: It is worth nothing already.
        """
        score = self.judge(self.network)
        if not score > 0:
            raise PruningError(
                f"{self._settings.weights}: the whole model scores {score:.4f}, so nothing can be "
                "lost. Check that weights and data belong together, or judge with --quick."
            )
        return score

    def order(self) -> dict[str, list[int]]:
        """Return the channels of each group, the least important first.

        Raises:
            PruningError: No such criterion.
        """
        name = self._settings.criterion
        if name not in CRITERIA:
            raise PruningError(
                f"--criterion: no criterion '{name}'.{suggest(name, CRITERIA)} Known: "
                f"{', '.join(sorted(CRITERIA))}."
            )
        detector = self._detector.to(self._device)
        table = trace(detector, self.probe)
        calibration = Calibration(self._images, self._losses)
        evidence = Evidence(detector, table, calibration, self._settings.seed)
        scores = CRITERIA[name](table.free_groups, evidence)
        return {group: values.argsort(stable=True).tolist() for group, values in scores.items()}

    def _images(self) -> Iterator[Tensor]:
        for batch in self._training:
            yield self._scaled(batch)

    def _losses(self, network: nn.Module) -> Iterator[Tensor]:
        detector = self._detector
        levels, classes = len(detector.anchors), len(detector.names)
        loss = DetectionLoss(detector, scaled_gains(LossGains(), levels, classes, self._side))
        for batch in self._training:
            yield loss(network(self._scaled(batch)), batch.targets).total(len(batch.images))

    @cached_property
    def _training(self) -> ValidationBatches:
        index = build_index(self._data, "train")
        return self._batches(_spread(index, self._settings.calibration_images))

    def _scaled(self, batch: Batch) -> Tensor:
        return batch.images.to(self._device).float() / 255

    def _batches(self, index: ImageIndex) -> ValidationBatches:
        settings = self._settings
        return validation_batches(
            index, self._side, settings.batch_size, self._detector.stride, workers=settings.workers
        )


def _spread(index: ImageIndex, count: int) -> ImageIndex:
    """Return as many images, spread evenly over the index; all of them for 0."""
    if count == 0 or count >= len(index):
        return index
    chosen = np.linspace(0, len(index) - 1, count).round().astype(int)
    boxes = [index.boxes_of(image) for image in chosen]
    return replace(
        index,
        paths=tuple(index.paths[image] for image in chosen),
        sizes_hw=index.sizes_hw[chosen],
        boxes=np.concatenate(boxes),
        offsets=np.cumsum([0, *map(len, boxes)], dtype=np.int64),
    )


def _decoded(batches: ValidationBatches, size: int) -> ValidationBatches | list[Batch]:
    return list(batches) if size <= KEPT_BYTES else batches
