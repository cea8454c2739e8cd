"""One epoch: forward, backward, step; and what to do when numbers are no longer finite, or the
memory is short.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer

from prunus.core.console import log
from prunus.core.device import autocast
from prunus.core.distributed import ALONE, Processes
from prunus.core.errors import TrainingError
from prunus.core.records import Batch
from prunus.core.talk import catching_up, heard
from prunus.model.detector import Detector
from prunus.model.loss import DetectionLoss, LossTerms
from prunus.train.distill import Teacher
from prunus.train.ema import ExponentialAverage
from prunus.train.freeze import set_training_, still_prefix
from prunus.train.holder import ZeroHolder
from prunus.train.memory import Attempt, Piece, corner, most_images, pieces_of
from prunus.train.optimizer import clip_gradients, set_tempo
from prunus.train.position import NotFiniteError, Position
from prunus.train.room import step_where_room
from prunus.train.scales import Scales
from prunus.train.schedule import Schedule, Tempo
from prunus.train.sparsity import GammaShrinker
from prunus.train.validate import to_input
from prunus.train.window import Window

FAILURES_IN_A_ROW = 3
"""So many batches without a finite loss, or steps without finite gradients, end a training."""
NAMED_IMAGES = 3


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
        scales: The size of each batch; None for the size that it comes in.
        processes: Who else learns from other images of the same batches.
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
    scales: Scales | None = None
    processes: Processes = ALONE
    position: Position = field(default_factory=Position)

    def __post_init__(self) -> None:
        self.scaler = GradScaler(self.device.type, enabled=self.precision == "fp16")
        self._network = self.detector  # until the frozen rows have their final values
        self._window = Window(self.detector, self.position)

    def run_epoch(self, batches: Iterable[Batch], stop: Callable[[], bool]) -> bool:
        """Run the rest of the epoch that `position` stands in.

        Args:
            batches: The epoch's batches from `position.batch` on.
            stop: Asked after each optimizer step but the epoch's last; True ends the epoch early.

        Returns:
            Whether the epoch was finished; `position` then stands behind its last batch.

        Raises:
            NotFiniteError: FAILURES_IN_A_ROW batches or steps were not finite.
            TrainingError: The memory is too small for a single image, or for the optimizer's step.
        """
        set_training_(self.detector, self.frozen)
        if self._network is self.detector:
            self._network = still_prefix(self.detector, self.frozen)
        position, schedule = self.position, self.schedule
        stepping = schedule.stepping_batches(position.epoch)
        self.optimizer.zero_grad()
        self._window = Window(self.detector, position)
        for batch in batches:
            planned = schedule.tempo(position.epoch * schedule.batches + position.batch)
            set_tempo(self.optimizer, _scaled(planned, position.lr_scale))
            self._learn(batch)
            position.batch += 1
            if position.batch - 1 in stepping:
                self._step(planned)
                if self.holder is not None:
                    done = position.epoch * schedule.batches + position.batch
                    self.holder.step(done / schedule.iterations)
                if position.batch < schedule.batches and self.processes.any(stop()):
                    return False
        return True

    def _learn(self, batch: Batch) -> None:
        """Add the gradients of one batch, in as many pieces as the memory asks for."""
        self._window.batches.append((self.position.batch, batch))
        if not self._fits(self._window.batches[-1:]):
            self._learn_anew()

    def _learn_anew(self) -> None:
        """Add up the window's gradients from its start, in twice as many pieces, until they fit."""
        fits = False
        while not fits:
            self._halve_pieces(*self._window.batches[-1])
            self.optimizer.zero_grad()
            self._window.rewind_(self.detector, self.position)
            fits = self._fits(self._window.batches)

    def _fits(self, batches: Iterable[tuple[int, Batch]]) -> bool:
        """Add the gradients of numbered batches; False when a process's memory was too small."""
        return all(
            self._learn_piece(piece, number, batch.whole or len(batch.frames))
            for number, batch in batches
            for piece in pieces_of(batch, self.position.pieces, self.processes)
        )

    def _halve_pieces(self, number: int, batch: Batch) -> None:
        """Compute in twice as many pieces from now on, and say so; the batch is the latest.

        Raises:
            TrainingError: A piece is a single image already.
        """
        position, images = self.position, most_images(batch, self.processes)
        where = f"epoch {position.epoch + 1}, batch {number + 1}: memory is short"
        if position.pieces >= images:
            raise TrainingError(
                f"{where} for a single image of {batch.images.shape[2]} pixels. Lower --img, or "
                "take a smaller model."
            )
        position.pieces *= 2
        log.warning(
            "%s: from here on %d images at a time%s, which is what batch norm then sees; %d images "
            "a batch, the images of an optimizer step and the learning rate stay",
            where,
            -(-images // position.pieces),
            "" if self.processes.count == 1 else " in each process",
            batch.whole or images,
        )
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _learn_piece(self, piece: Piece, number: int, whole: int) -> bool:
        """Add the gradients of a piece of a batch, unless its loss is not finite.

        Args:
            piece: What to learn from.
            number: The batch's in the epoch.
            whole: Images of the batch, in all processes.

        Returns:
            Whether the memory was enough, here and in all other processes.
        """
        start = heard()
        with Attempt() as forward:
            terms = self._forward(piece.batch, number, counts=piece.counts)
        passed = heard() - start
        if forward.short:
            if self.processes.count == 1:
                return False
            terms = self._forward_behind(piece.batch, passed)
        own = terms.stacked()
        *said, short = self.processes.mean(torch.cat((own, own.new_tensor([forward.short]))))
        if short:
            return False
        if not all(map(math.isfinite, said)):
            self._skip(piece.batch, own)
            return True
        self.position.bad_losses = 0
        self._window.learnt.append(_names(piece.batch))
        for place, term in enumerate(said):
            self.position.losses[place] += float(term) * piece.images / whole
        self.position.counted += piece.images / whole
        total = self.scaler.scale(terms.total(piece.images))
        del terms
        return self._backward(total, piece.batch, passed)

    def _backward(self, total: Tensor, batch: Batch, passed: int) -> bool:
        """Add the gradients of a loss; return whether the memory was enough in all processes."""
        start = heard()
        with Attempt() as backward:
            total.backward()  # type: ignore[no-untyped-call]
        del total
        if backward.short and self.processes.count > 1:
            behind = passed + heard() - start
            self._forward_behind(batch, behind, backward=True)
        return not self.processes.any(backward.short)

    def _forward_behind(self, batch: Batch, behind: int, *, backward: bool = False) -> LossTerms:
        """Take part in what the other processes still compute of a piece; nothing of it counts.

        Args:
            batch: The piece, for which the memory was short.
            behind: Collectives of it that this process has taken part in.
            backward: Whether they are in their backward pass.
        """
        small = corner(batch, 2 * self.detector.stride)
        with catching_up(behind):
            terms = self._compare(to_input(small.images, self.device), small.targets)
            if backward:
                terms.total(1).backward()  # type: ignore[no-untyped-call]
        return terms

    def _forward(self, batch: Batch, number: int, *, counts: bool = True) -> LossTerms:
        images = to_input(batch.images, self.device)
        if self.scales is not None:
            images = self.scales.resize(images, self.position.epoch, number)
        return self._compare(images, batch.targets, counts=counts)

    def _compare(self, images: Tensor, targets: Tensor, *, counts: bool = True) -> LossTerms:
        """Return the loss of images on the device; `counts` as in `Piece`."""
        processes = self.processes
        with autocast(self.device, self.precision):
            raw = self._network(images)

        def weigh(amounts: Tensor) -> Tensor:
            return processes.weights(amounts if counts else torch.zeros_like(amounts))

        terms = self.loss(raw, targets, weigh)
        if self.teacher is None:
            return terms
        return terms + self.teacher.imitated(self.loss, raw, images, weigh, processes)

    def _skip(self, batch: Batch, own: Tensor) -> None:
        """Go on without a piece whose loss is not finite; name the images of who found it so."""
        _heal_buffers(self.detector, self.average.detector)
        self.position.bad_losses += 1
        found = self.processes.gather("" if bool(own.isfinite().all()) else _names(batch))
        self._fail("loss", self.position.bad_losses, "; ".join(filter(None, found)))

    def _step(self, planned: Tempo) -> None:
        """Step on the gradients that were added up, unless they are not finite."""
        finite: bool | None = True
        while self._window.learnt and (finite := self._try_step(planned)) is None:
            self._learn_anew()
        learnt = self._window.learnt
        if learnt:
            self.scaler.update()
        self.optimizer.zero_grad()
        self._window = Window(self.detector, self.position)
        lowest = not self.scaler.is_enabled() or self.scaler.get_scale() < 1
        if learnt and not finite and lowest:
            self.position.bad_steps += 1
            found = self.processes.gather("; ".join(learnt))
            self._fail("gradient", self.position.bad_steps, "; ".join(found))

    def _try_step(self, planned: Tempo) -> bool | None:
        """Make a step where the gradients are finite, and return that; None where memory was short.

        Raises:
            TrainingError: It was so in the midst of the step.
        """
        where = f"epoch {self.position.epoch + 1}, batch {self._window.batches[-1][0] + 1}"
        made = partial(self._make_step, planned)
        finite = step_where_room(made, self.optimizer, self.processes, where)
        if finite is None:  # a scaler that has unscaled would not do it again
            kept = self.scaler.state_dict()
            self.scaler = GradScaler(self.device.type, enabled=self.scaler.is_enabled())
            self.scaler.load_state_dict(kept)
        return finite

    def _make_step(self, planned: Tempo) -> bool:
        """Make a step where the gradients are finite, and return that.

        The pull on gammas keeps to its plan even where the learning rate was lowered: its sum over
        the run is what was promised.
        """
        learning = (p for group in self.optimizer.param_groups for p in group["params"])
        self.processes.average_(p.grad for p in learning if p.grad is not None)
        self.scaler.unscale_(self.optimizer)
        if not math.isfinite(clip_gradients(self.optimizer)):
            return False
        self.scaler.step(self.optimizer)
        if self.shrinker is not None:
            self.shrinker.step(planned.lr)
        self.average.update(self.detector)
        self.position.bad_steps = 0
        return True

    def _fail(self, what: str, times: int, images: str) -> None:
        """Say that a batch or step was skipped, or give up."""
        position = self.position
        where = (
            f"epoch {position.epoch + 1}, batch {position.batch + 1}: {what} not finite ({images})"
        )
        if times >= FAILURES_IN_A_ROW:
            raise NotFiniteError(f"{where}, {times} times in a row")
        log.warning("%s: not learnt from", where)


def _scaled(tempo: Tempo, scale: float) -> Tempo:
    return replace(tempo, lr=tempo.lr * scale, bias_lr=tempo.bias_lr * scale)


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
