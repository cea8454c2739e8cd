"""One sitting of a training: epochs, validation, what is kept, when to stop."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from prunus.core.console import log, track
from prunus.core.runs import finite
from prunus.data.index import ImageIndex
from prunus.data.loader import validation_batches
from prunus.train.checkpoint import BEST, LAST, STATE, save_state
from prunus.train.config import TrainConfig
from prunus.train.engine import Engine
from prunus.train.images import TrainingImages
from prunus.train.interrupt import Interrupt
from prunus.train.logs import RESULTS, Board, EpochFacts, Row, log_epoch, log_gammas, write_results
from prunus.train.validate import Validation, validate
from prunus.weights.history import Step
from prunus.weights.native import UNSTATED, save_weights


@dataclass
class Progress:
    """What is known about a run so far; JSON-ready.

    Attributes:
        rows: One row of results.csv for each finished epoch.
        best_fitness: The highest so far; -1 before the first validation.
        best_epoch: When that was, counted from 0; -1 before the first validation.
        best_metrics: What validation said then.
        seconds: Time spent, over all sessions.
    """

    rows: list[Row] = field(default_factory=list)
    best_fitness: float = -1.0
    best_epoch: int = -1
    best_metrics: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class TrainResult:
    """What a training made.

    Attributes:
        best: Averaged weights of the best epoch.
        last: Averaged weights of the last epoch.
        best_epoch: Counted from 0.
        metrics: `Evaluation.metrics()` of the best epoch.
        epochs: One row of results.csv for each epoch.
        seconds: Time spent.
    """

    best: Path
    last: Path
    best_epoch: int
    metrics: Mapping[str, Any]
    epochs: tuple[Row, ...]
    seconds: float


@dataclass(frozen=True)
class Origin:
    """What a training starts from, besides the detector itself.

    Attributes:
        history: The steps that were taken before.
        licence: The weights' licence, as their file states it.
        parent: SHA-256 of that file.
        state: What `checkpoint.read_state` returned, to go on with that training; else None.
    """

    history: tuple[Step, ...] = ()
    licence: str = UNSTATED
    parent: str = ""
    state: Mapping[str, Any] | None = None


@dataclass
class Session:
    """One sitting of a training, from its start or where it was resumed to its end."""

    engine: Engine
    settings: TrainConfig
    folder: Path
    origin: Origin
    progress: Progress

    def __post_init__(self) -> None:
        self._began = perf_counter() - self.progress.seconds

    def run(
        self,
        loader: TrainingImages,
        validation: ImageIndex,
        image_size: int,
        board: Board,
        interrupt: Interrupt,
    ) -> None:
        """Run epochs until the last one, or until patience is at its end."""
        position, epochs = self.engine.position, self.settings.epochs
        while position.epoch < epochs and not self._out_of_patience():
            epoch, start = position.epoch, perf_counter()
            images = (len(loader) - position.batch) * self.settings.batch_size
            batches = loader.epoch(epoch, position.batch)
            title = f"epoch {epoch + 1}/{epochs}"
            tracked = track(batches, title, len(loader) - position.batch)
            if not self.engine.run_epoch(tracked, interrupt.requested):
                self._save_last()
                self._save_state()
                self._leave()
            speed = images / (perf_counter() - start)
            judged = None
            if self._validates(epoch):
                judged = self._validate(validation, image_size)
            self._finish_epoch(judged, speed, board)
            if interrupt.requested() and position.epoch < epochs:
                self._leave()

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

    def _validates(self, epoch: int) -> bool:
        return (epoch + 1) % self.settings.val_every == 0 or epoch + 1 == self.settings.epochs

    def _validate(self, index: ImageIndex, image_size: int) -> Validation:
        engine, settings = self.engine, self.settings
        batches = validation_batches(
            index,
            image_size,
            settings.batch_size * 2,
            engine.detector.stride,
            workers=settings.workers,
        )
        return validate(
            engine.average.detector,
            engine.loss,
            batches,
            index,
            device=engine.device,
            precision=engine.precision,
        )

    def _finish_epoch(self, judged: Validation | None, speed: float, board: Board) -> None:
        """Write down and save what an epoch brought, and go on to the next."""
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
        better = judged is not None and sparse and judged.fitness > progress.best_fitness
        if judged is not None and better:
            progress.best_fitness, progress.best_epoch = judged.fitness, facts.epoch
            progress.best_metrics = _plain(judged)
        progress.rows.append(facts.row())
        log_epoch(facts, self.settings.epochs, better)
        board.add_scalars(facts.row(), facts.epoch)
        if engine.shrinker is not None:
            log_gammas(board, engine.shrinker, engine.average.detector, facts.epoch)
        if engine.holder is not None:
            log.info("%s", engine.holder.summary())
            board.add_scalars({"weights/zeros": engine.holder.share}, facts.epoch)
        engine.position.begin_next_epoch()
        self._save_last()
        if better:
            self._save_weights(BEST)
        write_results(self.folder / RESULTS, progress.rows)
        self._save_state()

    def _out_of_patience(self) -> bool:
        waited = self.engine.position.epoch - 1 - self.progress.best_epoch
        patience = self.settings.patience
        if patience == 0 or self.progress.best_epoch < 0 or waited < patience:
            return False
        log.info("stopping: no better epoch in the last %d (--patience)", patience)
        return True

    def _save_last(self) -> None:
        self.progress.seconds = perf_counter() - self._began
        self._save_weights(LAST)

    def _save_weights(self, name: str) -> None:
        step = Step(
            verb="train",
            parent=self.origin.parent,
            settings=self.settings.model_dump(),
            metrics=self.progress.best_metrics if name == BEST else {},
        )
        save_weights(
            self.engine.average.detector,
            self.folder / name,
            history=(*self.origin.history, step),
            licence=self.origin.licence,
        )

    def _save_state(self) -> None:
        save_state(self.folder / STATE, self.engine, asdict(self.progress), self.settings.plain())

    def _leave(self) -> None:
        log.info("stopped and saved. Go on with: prunus train --resume %s", self.folder)
        raise KeyboardInterrupt


def _plain(judged: Validation) -> dict[str, Any]:
    metrics = finite(judged.evaluation.metrics())
    return dict(metrics) if isinstance(metrics, dict) else {}
