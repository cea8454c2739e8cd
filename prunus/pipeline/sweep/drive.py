"""The loop: give each free worker a trial, write down what comes back, until none is left."""

import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from prunus.core.console import log
from prunus.pipeline.sweep.point import Point, Trial
from prunus.pipeline.sweep.table import Table
from prunus.pipeline.sweep.trial import WORKER, Job
from prunus.pipeline.sweep.workers import Ending, Workers

TRIALS = "trials"
ATTEMPTS = 2
"""Of a trial whose worker dies: it may have been the machine."""

MakeJob = Callable[[int, Point | None, Path], Job]
"""Makes a trial's job from its number, its point and its folder."""


class Proposals(Protocol):
    """Where trials come from: the grid, or a search."""

    def next(self) -> Trial | None:
        """Return a trial that is waiting; None if there is none."""

    def tell(self, trial: Trial) -> None:
        """Learn how a trial ended."""

    @property
    def left(self) -> int:
        """Trials that `next` will still return."""


class Queue:
    """The waiting trials, in their order."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._trials = deque(trial for trial in trials if trial.status == "waiting")

    def next(self) -> Trial | None:
        return self._trials.popleft() if self._trials else None

    def tell(self, trial: Trial) -> None:
        """The grid does not change."""

    @property
    def left(self) -> int:
        return len(self._trials)


class Driver:
    """Runs all trials that there are."""

    def __init__(
        self, table: Table, workers: Workers, proposals: Proposals, make_job: MakeJob
    ) -> None:
        self._table, self._workers, self._proposals = table, workers, proposals
        self._make_job = make_job
        self._folder = table.path.parent.resolve() / TRIALS
        self._running: set[int] = set()
        self._tries: Counter[int] = Counter()
        self._ended, self._started = 0, time.perf_counter()

    def run(self) -> None:
        """Work until no trial is left and none runs."""
        again: deque[Trial] = deque()
        while True:
            while len(self._running) < self._workers.count:
                trial = again.popleft() if again else self._proposals.next()
                if trial is None:
                    break
                self._start(trial)
            if not self._running:
                return
            ending = self._workers.wait()
            self._running.remove(ending.number)
            trial = self._table.trials()[ending.number]
            if ending.outcome is None and self._tries[ending.number] < ATTEMPTS:
                log.warning("trial %d: %s; tried once more", trial.number, ending.reason)
                again.append(trial)
            else:
                self._finish(trial, ending)

    def _start(self, trial: Trial) -> None:
        begun = self._table.change(trial.number, status="running", attempts=trial.attempts + 1)
        self._running.add(trial.number)
        self._tries[trial.number] += 1
        self._workers.start(self._make_job(trial.number, trial.point, self._place(begun)))

    def _finish(self, trial: Trial, ending: Ending) -> None:
        outcome = dict(ending.outcome or {"error": ending.reason})
        if "weights" in outcome and trial.point is not None:
            place = self._place(trial).relative_to(self._table.path.parent.resolve())
            outcome["weights"] = (place / outcome["weights"]).as_posix()
        outcome["status"] = "failed" if "error" in outcome else "done"
        done = self._table.change(trial.number, worker=self._worker(trial), **outcome)
        self._proposals.tell(done)
        self._ended += 1
        self._say(done)

    def _say(self, trial: Trial) -> None:
        per_trial = (time.perf_counter() - self._started) / self._ended
        left = self._proposals.left + len(self._running)
        rest = f"; {left} left, about {per_trial * left / 60:.0f} min" if left else ""
        if trial.status == "failed":
            log.warning("trial %d, %s: failed: %s%s", trial.number, trial.title, trial.error, rest)
            return
        speedup = "" if trial.speedup is None else f", {trial.speedup:.2f}x"
        log.info(
            "trial %d, %s: mAP50-95 %.4f, %.3f GFLOPs%s, %.0f s%s",
            trial.number,
            trial.title,
            trial.map50_95,
            trial.gflops,
            speedup,
            trial.seconds,
            rest,
        )

    def _place(self, trial: Trial) -> Path:
        """Return the folder of a trial's present attempt: no other process writes there."""
        again = "" if trial.attempts <= 1 else f"-{trial.attempts}"
        return self._folder / f"{trial.number:04d}{again}"

    def _worker(self, trial: Trial) -> str | None:
        with suppress(OSError):
            return (self._place(trial) / WORKER).read_text("utf-8").strip()
        return None


def begin_again(table: Table, *, failed: bool) -> None:
    """Let trials wait that were running when the driver ended; remove what they left.

    Args:
        table: Of a sweep that is resumed.
        failed: Also those that failed.
    """
    for trial in table.trials():
        if trial.status == "running" or (failed and trial.status == "failed"):
            table.change(trial.number, status="waiting", worker=None, error=None)
            for leftover in (table.path.parent / TRIALS).glob(f"{trial.number:04d}*"):
                shutil.rmtree(leftover, ignore_errors=True)
