"""One sitting of a training: epochs, validation, what is kept, when to stop, when to go back."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter

from prunus.core.console import log, track
from prunus.core.distributed import LostError
from prunus.core.errors import TrainingError
from prunus.data.index import ImageIndex
from prunus.data.loader import validation_batches
from prunus.model.detector import Detector
from prunus.train.checkpoint import BEST, LAST, newest_state, restore_
from prunus.train.config import TrainConfig
from prunus.train.cuts import cut_monitor
from prunus.train.engine import Engine
from prunus.train.images import TrainingImages
from prunus.train.interrupt import Interrupt
from prunus.train.loggers import Board
from prunus.train.logs import EpochFacts, log_epoch, log_gammas
from prunus.train.outputs import Outputs
from prunus.train.position import NotFiniteError
from prunus.train.progress import Origin, Progress, TrainResult
from prunus.train.validate import Validation, validate

ROLLBACKS = 3
"""So often a training may go back to a saved state before it gives up."""
SLOWER = 0.5
"""Each time the learning rates are multiplied by this."""


@dataclass
class Session:
    """One sitting of a training, from its start or where it was resumed to its end."""

    engine: Engine
    settings: TrainConfig
    folder: Path
    origin: Origin
    progress: Progress
    outputs: Outputs = field(init=False)

    def __post_init__(self) -> None:
        self._began = perf_counter() - self.progress.seconds
        self.outputs = Outputs(self.folder, self.settings, self.origin)
        self._cuts = cut_monitor(self.engine, self.settings.mask_eval)

    def run(
        self,
        loader: TrainingImages,
        validation: ImageIndex,
        image_size: int,
        board: Board,
        interrupt: Interrupt,
    ) -> None:
        """Run epochs until the last one, or until patience is at its end.

        Raises:
            TrainingError: Numbers stopped being finite, and going back did not help.
            PrunusError: The state or the weights cannot be written.
            KeyboardInterrupt: Ctrl-C; the state is saved.
            SystemExit: SIGTERM; the state is saved.
        """
        self._judge = partial(self._validate, validation, image_size, interrupt)
        try:
            while self.engine.position.epoch < self.settings.epochs and not self._out_of_patience():
                self._attempt_epoch(loader, board, interrupt)
        except (KeyboardInterrupt, SystemExit):
            log.info("stopped. Go on with: prunus train --resume %s", self.folder)
            raise

    def result(self) -> TrainResult:
        progress = self.progress
        return TrainResult(
            best=self.folder / BEST,
            last=self.folder / LAST,
            best_epoch=progress.best_epoch,
            metrics=progress.best_metrics,
            epochs=tuple(progress.rows),
            seconds=progress.seconds,
        )

    def begin(self) -> None:
        """Make sure that there is a state to go back to, and that all other files agree with it.

        Raises:
            PrunusError: It cannot be written.
        """
        self.outputs.prepare(self.engine)
        if self.origin.state is None:
            self._save_state()
            return
        position, progress = self.engine.position, self.progress
        at_best = position.batch == 0 and 0 <= progress.best_epoch == position.epoch - 1
        self.outputs.save_products(self.engine, progress, best=at_best)

    def _attempt_epoch(self, loader: TrainingImages, board: Board, interrupt: Interrupt) -> None:
        """Run an epoch, or what is left of it; go back when its numbers stop being finite."""
        start, position = perf_counter(), self.engine.position
        images = (len(loader) - position.batch) * self.settings.batch_size
        try:
            self._learn(loader, interrupt)
            speed = images / (perf_counter() - start)
            judged = None
            if self._validates(position.epoch):
                judged = self._judge(self.engine.average.detector)
            self._finish_epoch(judged, speed, board)
        except NotFiniteError as error:
            self._go_back(error)
        if self.engine.position.epoch < self.settings.epochs:
            self._leave_if_asked(interrupt)

    def _leave_if_asked(self, interrupt: Interrupt) -> None:
        if self.engine.processes.any(interrupt.requested()):
            interrupt.leave()

    def _learn(self, loader: TrainingImages, interrupt: Interrupt) -> None:
        """Run the epoch's batches; when asked to stop, save and leave."""
        position, epochs = self.engine.position, self.settings.epochs
        scores = tuple(self.progress.class_scores)
        with interrupt.at_once():  # it may decode pictures for minutes, and nothing has changed yet
            batches = loader.epoch(position.epoch, position.batch, scores)
        title = f"epoch {position.epoch + 1}/{epochs}"
        tracked = track(batches, title, len(loader) - position.batch)

        def stop() -> bool:
            if self._save_is_due():  # first: all processes must come here
                self._save_state()
            return interrupt.requested()

        if not self.engine.run_epoch(tracked, stop):
            self._save_all()
            interrupt.leave()

    def _validates(self, epoch: int) -> bool:
        return (epoch + 1) % self.settings.val_every == 0 or epoch + 1 == self.settings.epochs

    def _validate(
        self, index: ImageIndex, image_size: int, interrupt: Interrupt, detector: Detector
    ) -> Validation:
        """Judge a detector; a signal ends that at once, and it is done anew after a resume."""
        engine, settings = self.engine, self.settings
        if self._save_is_due():
            self._save_state()
        if engine.processes.any(interrupt.requested()):  # once begun, each one ends at once
            self._save_all()
            interrupt.leave()
        batches = validation_batches(
            index,
            image_size,
            max(settings.batch_size * 2 // engine.processes.count, 1),
            engine.detector.stride,
            workers=settings.workers,
            processes=engine.processes,
            strict=False,
        )
        try:
            with interrupt.at_once():
                return validate(
                    detector,
                    engine.loss,
                    batches,
                    index,
                    device=engine.device,
                    precision=engine.precision,
                    processes=engine.processes,
                )
        except (KeyboardInterrupt, SystemExit, LostError):
            self._save_all()
            raise

    def _finish_epoch(self, judged: Validation | None, speed: float, board: Board) -> None:
        """Save what an epoch brought, write it down, and go on to the next."""
        engine, progress = self.engine, self.progress
        rates = tuple(float(group["lr"]) for group in engine.optimizer.param_groups)
        facts = EpochFacts(
            epoch=engine.position.epoch,
            losses=engine.position.mean_losses(),
            rates=(rates[0], rates[1], rates[2]),
            validation=judged,
            images_per_second=speed,
        )
        sparse = engine.holder is None or engine.holder.complete
        better = judged is not None and progress.judge(judged, facts.epoch, counts=sparse)
        progress.rows.append(facts.row())
        engine.position.begin_next_epoch()
        self._save_state()
        self.outputs.save_products(engine, progress, best=better)
        period = self.settings.save_period
        if period and (facts.epoch + 1) % period == 0:
            self.outputs.save_weights(engine, f"epoch{facts.epoch + 1}.safetensors", {})
        log_epoch(facts, self.settings.epochs, better)
        if self._cuts is not None:  # all processes judge together
            self._cuts.report(board, engine.average.detector, facts.epoch, self._judge)
        self.outputs.attempt(lambda: self._show(facts, board))

    def _show(self, facts: EpochFacts, board: Board) -> None:
        """Tell the loggers of an epoch, and the log of what is pulled on or held."""
        engine = self.engine
        board.add_scalars(facts.scalars(), facts.epoch)
        if engine.shrinker is not None:
            log_gammas(board, engine.shrinker, engine.average.detector, facts.epoch)
        if engine.holder is not None:
            log.info("%s", engine.holder.summary())
            board.add_scalars({"weights/zeros": engine.holder.share}, facts.epoch)

    def _go_back(self, error: NotFiniteError) -> None:
        """Restore the newest saved state, and learn more slowly from there.

        Raises:
            TrainingError: That was done ROLLBACKS times already, or nothing was saved.
        """
        position, engine = self.engine.position, self.engine
        if position.rollbacks >= ROLLBACKS:
            raise TrainingError(
                f"{error} Going back {position.rollbacks} times, to a learning rate times "
                f"{position.lr_scale:g}, did not help."
            ) from error
        scale, times = position.lr_scale * SLOWER, position.rollbacks + 1
        processes = engine.processes
        state, problem = processes.tell(newest_state(self.folder) if processes.first else ({}, ""))
        restore_(engine, state)
        self.progress = Progress(**state["progress"])
        engine.position.lr_scale, engine.position.rollbacks = scale, times
        engine.position.bad_losses = engine.position.bad_steps = 0
        if problem:
            log.warning("%s", problem)
        log.warning(
            "%s: going back to epoch %d, batch %d, with learning rates times %g (%d of %d)",
            error.where,
            engine.position.epoch + 1,
            engine.position.batch + 1,
            scale,
            times,
            ROLLBACKS,
        )
        self._save_state()

    def _out_of_patience(self) -> bool:
        waited = self.engine.position.epoch - 1 - self.progress.best_epoch
        patience = self.settings.patience
        if patience == 0 or self.progress.best_epoch < 0 or waited < patience:
            return False
        log.info("stopping: no better epoch in the last %d (--patience)", patience)
        return True

    def _save_is_due(self) -> bool:
        """Return whether so much time has passed that a kill would now lose too much."""
        every = self.settings.save_minutes * 60
        if every == 0:
            return False
        processes = self.engine.processes  # the first one's clock counts: all save, or none
        due = monotonic() - self.outputs.saved_at >= every
        return processes.any(processes.first and due)

    def _save_state(self) -> None:
        self.progress.seconds = perf_counter() - self._began
        self.outputs.save_state(self.engine, self.progress)

    def _save_all(self) -> None:
        self._save_state()
        self.outputs.save_products(self.engine, self.progress, best=False)
