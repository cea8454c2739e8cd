"""What `sensitivity` measures: a detector with its images, its judge and the order of removal."""

from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from torch import nn

from prunus.core.device import select_device
from prunus.core.errors import PruningError
from prunus.evaluate.val import evaluate
from prunus.model.channels.trace import trace
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.runner import TorchRunner
from prunus.pipeline.images import DetectorImages, spread
from prunus.pipeline.models import rounded_size
from prunus.prune.criteria import find_criterion
from prunus.prune.evidence import Calibration, Evidence
from prunus.prune.sensitivity.config import SensitivityConfig
from prunus.prune.sensitivity.likeness import Likeness
from prunus.prune.sensitivity.points import Judge

ACCURACY, LIKENESS = "map50_95", "likeness"


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
        self._images = DetectorImages(
            data,
            detector,
            side=rounded_size(settings.image_size, detector.stride),
            batch_size=settings.batch_size,
            workers=settings.workers,
            device=self._device,
        )
        self.score = LIKENESS if settings.quick else ACCURACY
        self.probe = torch.zeros(1, 3, 2 * detector.stride, 2 * detector.stride).to(self._device)
        self.network = TorchRunner(fuse(detector), self._device, self._images.precision).detector

    @cached_property
    def judge(self) -> Judge:
        """Return what scores a network; made while the network is whole."""
        if self._settings.quick:
            return Likeness(
                self.network, cast(list[torch.Tensor], list(self._calibration.batches()))
            )
        index = spread(self._images.validation, self._settings.images)
        batches = self._images.kept_batches(index)

        def accuracy(network: nn.Module) -> float:
            assert isinstance(network, Detector)
            runner = TorchRunner(network, self._device, self._images.precision)
            return evaluate(runner, batches(), index, coco=False).map50_95

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
        criterion = find_criterion(self._settings.criterion, self._calibration)
        detector = self._detector.to(self._device)
        table = trace(detector, self.probe)
        evidence = Evidence(detector, table, self._calibration, self._settings.seed)
        scores = criterion(table.free_groups, evidence)
        return {group: values.argsort(stable=True).tolist() for group, values in scores.items()}

    @cached_property
    def _calibration(self) -> Calibration:
        calibration = self._images.calibration(self._settings.calibration_images)
        assert calibration is not None
        return calibration
