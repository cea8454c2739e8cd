"""The next items are made in a thread while the last one is used."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
DEPTH = 2
"""Items made in advance. More would only cost memory: one thread makes them, in order."""


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items in order; an error comes where its item would have."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1, "read ahead") as thread:
        waiting = deque(thread.submit(next, iterator, end) for _ in range(DEPTH))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(thread.submit(next, iterator, end))
                yield item  # type: ignore[misc]
        finally:
            for future in waiting:
                future.cancel()
