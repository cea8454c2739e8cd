"""How long each stage of an evaluation takes. No result depends on it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TypeVar

STAGES = ("preprocess", "inference", "nms", "matching", "coco")

Item = TypeVar("Item")


class Clock:
    """Adds up the wall-clock seconds of each stage."""

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        start = perf_counter()
        yield
        self._seconds[stage] += perf_counter() - start

    def waiting(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items; the time that they take to come is `preprocess`."""
        iterator = iter(items)
        while True:
            with self.measure("preprocess"):
                item = next(iterator, None)
            if item is None:
                return
            yield item

    def per_image(self, images: int) -> dict[str, float]:
        """Return milliseconds an image, by stage."""
        return {stage: 1000 * total / max(images, 1) for stage, total in self._seconds.items()}
