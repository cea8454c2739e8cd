"""Judge the averaged weights during training: metrics and loss from the same forward passes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from prunus.core.console import log
from prunus.core.device import autocast
from prunus.core.distributed import ALONE, Processes
from prunus.core.errors import TrainingError
from prunus.core.records import Batch, Size
from prunus.data.index import ImageIndex
from prunus.evaluate.val import Evaluation, evaluate
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.loss import DetectionLoss
from prunus.train.memory import is_out_of_memory, split

MAP50_SHARE, MAP50_95_SHARE = 0.1, 0.9


@dataclass(frozen=True)
class Validation:
    """How good the detector is after an epoch.

    Attributes:
        evaluation: All figures.
        losses: Box, objectness and class term on the validation images.
    """

    evaluation: Evaluation
    losses: tuple[float, float, float]

    @property
    def fitness(self) -> float:
        """What "best" means: a tenth mAP50, nine tenths mAP50-95."""
        return MAP50_SHARE * self.evaluation.map50 + MAP50_95_SHARE * self.evaluation.map50_95


class LossRunner:
    """A `Runner` that also adds up the loss of every batch that it runs.

    Its batches have to come through `watch`, one for each call, since a runner is not given
    targets.
    """

    size_hw: Size | None = None
    batch: int | None = None

    def __init__(
        self, detector: Detector, loss: DetectionLoss, device: torch.device, precision: str
    ) -> None:
        self._detector = fuse(detector)
        self._loss, self._device, self._precision = loss, device, precision
        self._batch: Batch | None = None
        self._pieces = 1
        self._sum, self._images = torch.zeros(3), 0
        self.names, self.stride = detector.names, detector.stride

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Pass batches on and keep each one for the next call."""
        for batch in batches:
            self._batch = batch
            yield batch

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Return the candidates of the batch last watched, in pieces where memory is short."""
        if self._batch is None or len(self._batch.images) != len(images):
            raise ValueError(f"{len(images)} images that were not watched")
        while True:
            try:
                parts = [self._run(piece) for piece in split(self._batch, self._pieces)]
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if self._pieces >= len(images):
                    raise TrainingError(
                        "validation: memory is short for a single image. Lower --img."
                    ) from error
            else:
                self._sum += sum((sums for _, sums in parts), torch.zeros(3))
                self._images += len(images)
                return torch.cat([candidates for candidates, _ in parts])
            self._pieces *= 2
            log.warning("validation: memory is short: from here on %d pieces a batch", self._pieces)

    def _run(self, piece: Batch) -> tuple[Tensor, Tensor]:
        """Return a piece's candidates, and its loss terms times its images."""
        with autocast(self._device, self._precision):
            maps = self._detector(to_input(piece.images, self._device))
        raw = [level.float() for level in maps]
        sums = self._loss(raw, piece.targets).stacked().cpu() * len(piece.images)
        return self._detector.decode(raw), sums

    def losses(self, processes: Processes = ALONE) -> tuple[float, float, float]:
        """Return the mean terms over all images, of all processes: box, objectness, classes."""
        own = torch.cat((self._sum, torch.tensor([float(self._images)])))
        *sums, images = processes.mean(own).tolist()
        box, objectness, classes = (term / max(images, 1e-9) for term in sums)
        return box, objectness, classes


def validate(
    detector: Detector,
    loss: DetectionLoss,
    batches: Iterable[Batch],
    index: ImageIndex,
    *,
    device: torch.device,
    precision: str,
    processes: Processes = ALONE,
) -> Validation:
    """Evaluate a detector as `prunus val` does, but without COCO's figures.

    Of several processes each has its share of the batches, and all return the same.
    """
    runner = LossRunner(detector, loss, device, precision)
    watched = runner.watch(batches)
    evaluation = evaluate(runner, watched, index, coco=False, processes=processes)
    return Validation(evaluation, runner.losses(processes))


def to_input(images: Tensor, device: torch.device) -> Tensor:
    """Carry (B, 3, H, W) uint8 images to the device as numbers in [0, 1], channels last."""
    moved = images.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
    return moved.float().div_(255)
