"""The files of a run. The state is the truth and is written first; all else can be made from it."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from time import monotonic

from prunus.core.console import log
from prunus.core.errors import PrunusError
from prunus.core.files import remove_leftovers
from prunus.train.checkpoint import (
    BEST,
    LAST,
    PREVIOUS,
    STATE,
    check_finite,
    save_state,
    state_bytes,
)
from prunus.train.config import TrainConfig
from prunus.train.engine import Engine
from prunus.train.logs import RESULTS, write_results
from prunus.train.progress import Origin, Progress
from prunus.weights.history import Step
from prunus.weights.native import save_weights

ROOM = 3
"""Saves that a disk should have room for: last, previous, and the one that is being written."""


class Outputs:
    """Writes a run's files; of several processes the first one does.

    Attributes:
        folder: Where to.
        saved_at: When the state was last written, on the monotonic clock.
    """

    def __init__(self, folder: Path, settings: TrainConfig, origin: Origin) -> None:
        self.folder, self.saved_at = folder, monotonic()
        self._settings, self._origin = settings, origin
        self._problems: dict[str, PrunusError] = {}

    def prepare(self, engine: Engine) -> None:
        """Clear away what killed writes left, and warn when the disk will soon be full."""
        if not engine.processes.first:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in (STATE, PREVIOUS, LAST, BEST, RESULTS):
            remove_leftovers(self.folder / name)
        size, free = state_bytes(engine), shutil.disk_usage(self.folder).free
        if free < ROOM * size:
            log.warning(
                "%s: %.0f MB are free, and %d saves of %.0f MB are wanted. Free space now: a "
                "training that cannot save stops.",
                self.folder,
                free / 1e6,
                ROOM,
                size / 1e6,
            )

    def save_state(self, engine: Engine, progress: Progress) -> None:
        """Write the state.

        Raises:
            NotFiniteError: Something in it is not finite.
            PrunusError: It cannot be written; the one before is intact.
        """
        if not engine.processes.first:
            check_finite(engine)
            return
        save_state(
            self.folder / STATE,
            engine,
            asdict(progress),
            self._settings.plain(),
            self._origin.plain(),
        )
        self.saved_at = monotonic()

    def save_products(self, engine: Engine, progress: Progress, *, best: bool) -> None:
        """Write what the state's averaged weights and rows are worth to others.

        Args:
            engine: As it was saved.
            progress: As it was saved.
            best: Whether these weights are the best so far.

        Raises:
            PrunusError: Weights cannot be written. The state has been.
        """
        if not engine.processes.first:
            return
        self.save_weights(engine, LAST, {})
        if best:
            self.save_weights(engine, BEST, progress.best_metrics)
        self._problems.pop(RESULTS, None)  # all of it is written anew
        self.attempt(lambda: write_results(self.folder / RESULTS, progress.rows), RESULTS)

    def save_weights(self, engine: Engine, name: str, metrics: Mapping[str, object]) -> None:
        """Write the averaged weights with their history."""
        if not engine.processes.first:
            return
        settings = self._settings.model_dump()
        step = Step("train", settings, self._origin.parent, metrics)
        save_weights(
            engine.average.detector,
            self.folder / name,
            history=(*self._origin.history, step),
            licence=self._origin.licence,
        )

    def attempt(self, write: Callable[[], object], what: str = "") -> None:
        """Write something that the training can go on without; `finish` tells if it failed.

        Args:
            write: Does it.
            what: What it was, where a later attempt may make good for it.
        """
        try:
            write()
        except (OSError, PrunusError) as error:
            if not self._problems:
                log.warning("%s The training goes on.", error)
            known = error if isinstance(error, PrunusError) else PrunusError(str(error))
            self._problems[what] = known

    def finish(self) -> None:
        """Make sure that all has been written.

        Raises:
            PrunusError: Something could not be. The weights and the state were.
        """
        for problem in self._problems.values():
            raise PrunusError(
                f"{problem} The training has ended and its weights are saved in "
                f"{self.folder}, but this is missing."
            ) from problem
