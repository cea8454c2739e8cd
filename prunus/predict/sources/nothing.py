"""A line of a list that means nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

from prunus.core.errors import DataError
from prunus.predict.shot import Shot


@dataclass(frozen=True)
class Nothing:
    """Says so where its first shot would come, so that the rest of the list is still looked at.

    See `shot.Source`.
    """

    error: DataError
    title = "nothing"
    stem = "nothing"
    count = 0
    fps = None
    live = False
    lossless = False

    def __iter__(self) -> Iterator[Shot]:
        yield self._shot()

    def _shot(self) -> Shot:
        raise self.error
