"""How long each stage of a prediction takes. No result depends on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

STAGES = ("decode", "letterbox", "inference", "nms", "draw", "write")
"""`draw` includes the encoding of pictures and videos; `write` is what goes to the disk."""


class Stages:
    """Adds up the wall-clock seconds of each stage.

    Pictures are read in a thread of their own while the last one is looked at, so the sum may be
    more than the run took.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += perf_counter() - start

    def per_image(self, images: int) -> dict[str, float]:
        """Return milliseconds an image, by stage."""
        return {stage: 1000 * total / max(images, 1) for stage, total in self.seconds.items()}
