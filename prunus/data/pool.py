"""Worker processes that make batches in order, are watched, and are started anew when they fail.

Key k goes to worker k modulo their number, and a worker makes its batches in the order that it was
asked, so that nothing depends on speed. A batch is a pure function of its key: a worker that died,
hangs or raised is replaced, and the new one is asked again.
"""

import multiprocessing
import sys
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.util import Finalize
from pathlib import Path
from signal import Signals
from time import monotonic
from typing import Any

from prunus.core.console import log
from prunus.core.errors import DataError, PrunusError
from prunus.data.slots import Made, Packed, Shelf
from prunus.data.work import Failed, serve

AHEAD = 2
"""Batches that each worker makes ahead."""
RESTARTS = 3
"""So often a worker is started anew over the same batch."""
HANG_S = 12.0
"""So long a worker may use no processor time while its batch is waited for: four tries end within
a minute."""
SLOW_S = 600.0
"""So long a batch may take at all."""
LOOK_EVERY_S = 0.5
LAST_WORDS_S = 1.0
"""Time for a process that was ended to be gone."""

Make = Callable[[Hashable], Made]
Describe = Callable[[Hashable], str]
_FORKS = sys.platform == "linux"
_CONTEXT: Any = multiprocessing.get_context("fork" if _FORKS else "spawn")


class Pool:
    """Worker processes for one function."""

    def __init__(self, make: Make, workers: int, slot_bytes: int, describe: Describe) -> None:
        """Start the processes.

        Args:
            make: Makes the batch of a key; must pickle where processes are not forked.
            workers: Processes.
            slot_bytes: Size of a batch's tensors; larger ones come over too, slower.
            describe: Names a key for the log.
        """
        self._workers = [_Worker(number, make, slot_bytes, describe) for number in range(workers)]
        self._end = Finalize(self, _end_all, (self._workers,), exitpriority=100)

    def run(self, keys: Sequence[Hashable]) -> Iterator[Made | PrunusError]:
        """Yield what is made of each key, in order. Read it to the end, or `close` the pool.

        Raises:
            DataError: A worker died or hung RESTARTS times and once more over one key.
            RuntimeError: It raised as often; with its traceback.
        """
        workers = self._workers
        ahead = AHEAD * len(workers)
        for number, key in enumerate(islice(keys, ahead)):
            workers[number % len(workers)].ask(key)
        for number in range(len(keys)):
            worker = workers[number % len(workers)]
            made = worker.next()
            if number + ahead < len(keys):
                worker.ask(keys[number + ahead])
            yield made

    def close(self) -> None:
        """End the processes at once."""
        self._end()


class _Worker:
    """One process, and the keys that it was asked for, oldest first."""

    def __init__(self, number: int, make: Make, slot_bytes: int, describe: Describe) -> None:
        self._number, self._make, self._describe = number, make, describe
        self._shelf = Shelf(AHEAD, slot_bytes, shared=_FORKS)
        self._asked: deque[tuple[Hashable, int]] = deque()
        self._count = 0
        self._start()

    def ask(self, key: Hashable) -> None:
        self._asked.append((key, self._count % AHEAD))
        self._count += 1
        self._send(self._asked[-1])

    def next(self) -> Made | PrunusError:
        """Wait for what is made of the oldest key."""
        failures = 0
        while True:
            message = self._wait()
            if isinstance(message, Failed):
                failures += 1
                self.end()
                self._complain(message, failures)
                self._start()
                for question in self._asked:
                    self._send(question)
                continue
            _, slot = self._asked.popleft()
            return self._shelf.unpack(message, slot) if isinstance(message, Packed) else message

    def end(self) -> None:
        self._process.kill()
        self._process.join(LAST_WORDS_S)
        self._connection.close()

    def _start(self) -> None:
        self._connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(
            target=serve,
            args=(self._make, theirs, self._connection, self._shelf),
            name=f"prunus-loader-{self._number}",
            daemon=True,
        )
        self._process.start()
        theirs.close()

    def _send(self, question: tuple[Hashable, int]) -> None:
        try:
            self._connection.send(question)
        except OSError:
            return  # it is dead: noticed, and asked again, when its batch is waited for

    def _wait(self) -> Packed | PrunusError | Failed:
        """Return what the worker sends next, or that it failed."""
        connection: Connection = self._connection
        began = since = monotonic()
        used = _processor_time(self._process.pid)
        while not wait([connection, self._process.sentinel], LOOK_EVERY_S):
            now, use = monotonic(), _processor_time(self._process.pid)
            if use is None or use != used:
                used, since = use, now
            if now - since > HANG_S:
                return Failed(f"hung for {now - since:.0f} s")
            if now - began > SLOW_S:
                return Failed(f"was not done after {now - began:.0f} s")
        try:
            if connection.poll():
                message: Packed | PrunusError | Failed = connection.recv()
                return message
        except (EOFError, OSError):
            return self._obituary()
        return self._obituary()

    def _obituary(self) -> Failed:
        self._process.join(LAST_WORDS_S)
        code = self._process.exitcode or 0
        return Failed(f"was killed by {Signals(-code).name}" if code < 0 else f"ended with {code}")

    def _complain(self, failed: Failed, failures: int) -> None:
        """Log a failure, or give up."""
        key, _ = self._asked[0]
        text = f"loader worker {self._number} {failed.reason} over {self._describe(key)}"
        if failures <= RESTARTS:
            log.warning("%s: started anew, %d of %d", text, failures, RESTARTS)
            return
        if failed.trace:
            raise RuntimeError(f"{text}, {failures} times in a row\n{failed.trace}")
        raise DataError(
            f"{text}, {failures} times in a row. Look at these pictures, give the machine more "
            "memory, or load in the training's own process with --workers 0."
        )


def _end_all(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.end()


def _processor_time(pid: int | None) -> tuple[str, ...] | None:
    """Return the ticks that a process has used, None where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return tuple(fields[11:13])  # utime and stime, proc(5)
