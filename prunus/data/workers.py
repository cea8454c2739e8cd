"""A stream of batches, made here or by worker processes. Batches are pure functions of their key.

So the number and speed of workers change nothing but the time.
"""

from collections.abc import Hashable, Iterator
from functools import partial
from typing import Protocol

from prunus.core.console import log
from prunus.core.errors import PrunusError
from prunus.core.memory import available_bytes
from prunus.core.records import Batch
from prunus.data.pool import AHEAD, Pool
from prunus.data.slots import Made

__all__ = ["Made", "Maker", "Stream", "affordable"]

MEMORY_SHARE = 0.5
"""Of the memory that is left, for batches on their way: the training needs the rest."""


class Maker(Protocol):
    """Makes the batch for a key; must pickle where processes are not forked."""

    def __call__(self, key: Hashable) -> Made: ...


class Stream:
    """Batches in the order of their keys, made here or by worker processes."""

    def __init__(self, make: Maker, workers: int, batch_bytes: int, *, keep_workers: bool) -> None:
        """Prepare; processes start with the first batch.

        Args:
            make: Makes a batch. May have a method `names`, which names a key's pictures.
            workers: Processes, fewer where memory is short; 0 works here.
            batch_bytes: Size of the largest batch.
            keep_workers: Whether processes outlive a pass.
        """
        self._make, self._batch_bytes, self._keep_workers = make, batch_bytes, keep_workers
        self._workers = affordable(workers, batch_bytes)
        self._pool: Pool | None = None
        self._told: set[str] = set()

    def run(self, keys: tuple[Hashable, ...]) -> Iterator[Batch]:
        """Yield the batch of each key, in order.

        Raises:
            PrunusError: A batch cannot be made; as raised by the maker.
            RuntimeError: A worker process raised something else, again and again.
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
        if not self._workers or not keys:
            yield from map(self._make, keys)
            return
        if self._pool is None:
            describe = partial(_describe, self._make)
            self._pool = Pool(self._make, self._workers, self._batch_bytes, describe)
        finished = False
        try:
            yield from self._pool.run(keys)
            finished = True
        finally:
            if not (finished and self._keep_workers):
                self._pool.close()
                self._pool = None


def _describe(make: Maker, key: Hashable) -> str:
    names = getattr(make, "names", None)
    return f"batch {key}" if names is None else str(names(key))


def affordable(workers: int, batch_bytes: int) -> int:
    """Return how many workers the memory has room for, with the batches that they make ahead."""
    free = available_bytes()
    if not workers or free is None:
        return workers
    fitting = min(workers, int(free * MEMORY_SHARE // ((AHEAD + 1) * max(batch_bytes, 1))))
    if fitting < workers:
        log.warning(
            "%.0f MB of memory are free, room for %d of %d workers with batches of %.0f MB; "
            "lower --batch for more.",
            free / 1e6,
            fitting,
            workers,
            batch_bytes / 1e6,
        )
    return fitting
