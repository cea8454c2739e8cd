"""How the tests of a sweep run one, and how they kill its workers."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from prunus.cli.main import main
from prunus.pipeline.sweep.trial import WORKER

LIMIT_S = 120.0

Sweep = Callable[..., int]


@pytest.fixture
def sweep(weights: Path, orchard: Path) -> Sweep:
    """`prunus sweep` on the small data set; returns the exit code."""

    def run(*words: object, files: bool = True) -> int:
        given = ("--weights", weights, "--data", orchard) if files else ()
        return main(["sweep", *map(str, (*given, *words))])

    return run


@pytest.fixture
def kill_worker() -> Iterator[Callable[[Path], Thread]]:
    """Waits in the background for a trial's worker to begin, and kills it with SIGKILL."""
    over = Event()

    def kill(folder: Path) -> Thread:
        def wait() -> None:
            pid = worker_of(folder, over)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)

        thread = Thread(target=wait, daemon=True)
        thread.start()
        return thread

    yield kill
    over.set()


def worker_of(folder: Path, over: Event | None = None) -> int | None:
    """Wait for a trial to begin; return the process that runs it."""
    path, end = folder / WORKER, time.monotonic() + LIMIT_S
    while time.monotonic() < end and not (over and over.is_set()):
        if path.is_file():
            return int(path.read_text().split()[1])
        time.sleep(0.01)
    return None
