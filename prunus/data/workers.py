"""Worker processes that make batches ahead. Items are batches and pure functions of their key.

So their number and speed change nothing but the time. Errors cross the process border as values,
and keep their one line; torch would wrap them in a traceback.
"""

import shutil
import signal
import sys
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from prunus.core.console import log
from prunus.core.errors import PrunusError
from prunus.core.records import Batch

PREFETCH = 2
"""Batches that each worker makes ahead."""
SHARED_MEMORY = Path("/dev/shm")


class Made(NamedTuple):
    """A batch and what was noticed while it was made, one line each."""

    batch: Batch
    problems: tuple[str, ...] = ()


class Maker(Protocol):
    """Makes the batch for a key; must pickle."""

    def __call__(self, key: Hashable) -> Made: ...


class Keys(Sampler[Hashable]):
    """The keys to make next; set before each pass, since workers outlive passes."""

    def __init__(self) -> None:
        self.next: tuple[Hashable, ...] = ()

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self.next)

    def __len__(self) -> int:
        return len(self.next)


class Stream:
    """Batches in the order of their keys, made here or by worker processes."""

    def __init__(self, make: Maker, workers: int, batch_bytes: int, *, keep_workers: bool) -> None:
        self._make, self._keys = make, Keys()
        self._workers = affordable(workers, batch_bytes)
        self._keep_workers = keep_workers
        self._loader: DataLoader[Made | PrunusError] | None = None
        self._told: set[str] = set()

    def run(self, keys: tuple[Hashable, ...]) -> Iterator[Batch]:
        """Yield the batch of each key, in order.

        Raises:
            PrunusError: A batch cannot be made; as raised by the maker.
        """
        for item in self._items(keys):
            if isinstance(item, PrunusError):
                raise item
            for problem in item.problems:
                if problem not in self._told:
                    log.warning("%s", problem)
                    self._told.add(problem)
            yield item.batch

    def _items(self, keys: tuple[Hashable, ...]) -> Iterator[Made | PrunusError]:
        if not self._workers:
            return (self._make(key) for key in keys)
        self._keys.next = keys
        if self._loader is None:
            self._loader = self._open()
        return iter(self._loader)

    def _open(self) -> DataLoader[Made | PrunusError]:
        return DataLoader(
            _Items(self._make),
            batch_size=None,
            sampler=self._keys,
            num_workers=self._workers,
            collate_fn=_as_it_is,
            worker_init_fn=_start_worker,
            prefetch_factor=PREFETCH,
            persistent_workers=self._keep_workers,
            multiprocessing_context="fork" if sys.platform == "linux" else None,
            generator=torch.Generator(),  # else every pass would draw from torch's global generator
        )


class _Items(Dataset[Made | PrunusError]):
    def __init__(self, make: Maker) -> None:
        self._make = make

    def __getitem__(self, key: Hashable) -> Made | PrunusError:
        try:
            return self._make(key)
        except PrunusError as error:
            return error


def _as_it_is(item: Any) -> Any:
    """Stand in for torch's collation, which would turn the record into something else."""
    return item


def _start_worker(_: int) -> None:
    cv2.setNumThreads(0)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the main process, which still wants its batches


def affordable(workers: int, batch_bytes: int) -> int:
    """Return how many workers fit the shared memory: containers often have 64 MB of it.

    Overrunning it kills with a bus error.
    """
    if not workers or not SHARED_MEMORY.is_dir():
        return workers
    free = shutil.disk_usage(SHARED_MEMORY).free
    fitting = min(workers, int(free // ((PREFETCH + 1) * batch_bytes)))
    if fitting < workers:
        log.warning(
            "%s has %.0f MB free, enough for %d of %d workers; in Docker start with --shm-size=8g.",
            SHARED_MEMORY, free / 1e6, fitting, workers,
        )  # fmt: skip
    return fitting
