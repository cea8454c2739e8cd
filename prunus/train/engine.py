"""One epoch: forward, backward, step; and what to do when numbers are no longer finite."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch.amp import GradScaler
from torch.optim import Optimizer

from prunus.core.console import log
from prunus.core.device import autocast
from prunus.core.errors import TrainingError
from prunus.core.records import Batch
from prunus.model.detector import Detector
from prunus.model.loss import DetectionLoss, LossTerms
from prunus.train.distill import Teacher, imitation
from prunus.train.ema import ExponentialAverage
from prunus.train.freeze import set_training_
from prunus.train.holder import ZeroHolder
from prunus.train.optimizer import clip_gradients, set_tempo
from prunus.train.schedule import Schedule, Tempo
from prunus.train.sparsity import GammaShrinker
from prunus.train.validate import to_input

FAILURES_IN_A_ROW = 3
"""So many batches without a finite loss, or steps without finite gradients, end a training."""
NAMED_IMAGES = 3


@dataclass
class Position:
    """How far a training is.

    Attributes:
        epoch: Epochs that are finished.
        batch: Batches of the next epoch that are finished.
        losses: Sums over these batches of the box, objectness and class terms.
        counted: Batches in these sums.
        bad_losses: Batches in a row without a finite loss.
        bad_steps: Optimizer steps in a row without finite gradients.
    """

    epoch: int = 0
    batch: int = 0
    losses: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    counted: int = 0
    bad_losses: int = 0
    bad_steps: int = 0

    def mean_losses(self) -> tuple[float, float, float]:
        box, objectness, classes = (term / max(self.counted, 1) for term in self.losses)
        return box, objectness, classes

    def begin_next_epoch(self) -> None:
        self.epoch += 1
        self.batch = self.counted = 0
        self.losses = [0.0, 0.0, 0.0]


@dataclass
class Engine:
    """Everything that changes while training, and the rules by which it does.

    Attributes:
        detector: What learns.
        average: Its exponential average.
        optimizer: Holds the parameters that learn.
        loss: What is minimised.
        schedule: Learning rates and steps.
        device: Where to compute.
        precision: fp32, bf16 or fp16.
        frozen: Rows that do not learn.
        shrinker: Pulls on gammas; None without sparsity.
        holder: Holds weights at zero; None where all may differ from it.
        teacher: Whose answers are imitated beside the labels; None without.
        position: How far the training is.
    """

    detector: Detector
    average: ExponentialAverage
    optimizer: Optimizer
    loss: DetectionLoss
    schedule: Schedule
    device: torch.device
    precision: str
    frozen: tuple[int, ...] = ()
    shrinker: GammaShrinker | None = None
    holder: ZeroHolder | None = None
    teacher: Teacher | None = None
    position: Position = field(default_factory=Position)

    def __post_init__(self) -> None:
        self.scaler = GradScaler(self.device.type, enabled=self.precision == "fp16")
        self._pending: list[str] = []

    def run_epoch(self, batches: Iterable[Batch], stop: Callable[[], bool]) -> bool:
        """Run the rest of the epoch that `position` stands in.

        Args:
            batches: The epoch's batches from `position.batch` on.
            stop: Asked after each optimizer step; True ends the epoch early.

        Returns:
            Whether the epoch was finished; `position` then stands at the next one's start.

        Raises:
            TrainingError: FAILURES_IN_A_ROW batches or steps were not finite.
        """
        set_training_(self.detector, self.frozen)
        position, schedule = self.position, self.schedule
        stepping = schedule.stepping_batches(position.epoch)
        self.optimizer.zero_grad()
        for batch in batches:
            tempo = schedule.tempo(position.epoch * schedule.batches + position.batch)
            set_tempo(self.optimizer, tempo)
            self._learn(batch)
            position.batch += 1
            if position.batch - 1 in stepping:
                self._step(tempo)
                if self.holder is not None:
                    done = position.epoch * schedule.batches + position.batch
                    self.holder.step(done / schedule.iterations)
                if position.batch < schedule.batches and stop():
                    return False
        return True

    def _learn(self, batch: Batch) -> None:
        """Add the gradients of one batch, unless its loss is not finite."""
        terms = self._forward(batch)
        total = terms.total(len(batch.frames))
        if not math.isfinite(float(total.detach())):
            _heal_buffers(self.detector, self.average.detector)
            self.position.bad_losses += 1
            self._fail("loss", self.position.bad_losses, _names(batch))
            return
        self.position.bad_losses = 0
        self.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        self._pending.append(_names(batch))
        self.position.counted += 1
        for place, term in enumerate(terms.stacked().tolist()):
            self.position.losses[place] += term

    def _forward(self, batch: Batch) -> LossTerms:
        images = to_input(batch.images, self.device)
        with autocast(self.device, self.precision):
            raw = self.detector(images)
        terms = self.loss(raw, batch.targets)
        if self.teacher is None:
            return terms
        return terms + imitation(self.loss, raw, self.teacher.answers(images))

    def _step(self, tempo: Tempo) -> None:
        """Step on the gradients that were added up, unless they are not finite."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        self.scaler.unscale_(self.optimizer)
        finite = math.isfinite(clip_gradients(self.optimizer))
        if finite:
            self.scaler.step(self.optimizer)
            if self.shrinker is not None:
                self.shrinker.step(tempo.lr)
            self.average.update(self.detector)
            self.position.bad_steps = 0
        self.scaler.update()
        self.optimizer.zero_grad()
        if not finite and (not self.scaler.is_enabled() or self.scaler.get_scale() < 1):
            self.position.bad_steps += 1
            self._fail("gradient", self.position.bad_steps, "; ".join(pending))

    def _fail(self, what: str, times: int, images: str) -> None:
        """Say that a batch or step was skipped, or give up."""
        position = self.position
        where = (
            f"epoch {position.epoch + 1}, batch {position.batch + 1}: {what} not finite ({images})"
        )
        if times >= FAILURES_IN_A_ROW:
            raise TrainingError(
                f"{where}, {times} times in a row. Lower lr0 in --hyp, or use --precision fp32. "
                "The weights of the last finished epoch are in the run folder."
            )
        log.warning("%s: not learnt from", where)


def _heal_buffers(detector: Detector, healthy: Detector) -> None:
    """Replace batch-norm statistics that a bad forward pass has spoilt by their averages."""
    sound = dict(healthy.named_buffers())
    for name, buffer in detector.named_buffers():
        if buffer.is_floating_point() and not bool(buffer.isfinite().all()):
            buffer.copy_(sound[name])


def _names(batch: Batch) -> str:
    paths = [str(frame.path) for frame in batch.frames[:NAMED_IMAGES]]
    more = len(batch.frames) - len(paths)
    return ", ".join(paths) + (f" and {more} more" if more else "")
