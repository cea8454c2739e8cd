"""A picture on its way through the room, and where it comes from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from prunus.core.records import Size
from prunus.data.decode import Pixels


class Source(Protocol):
    """One picture file, video or stream: shots, one after another, made when they are asked for.

    Attributes:
        title: What it is called in results and in the log; never holds a password.
        stem: What files about it are called.
        count: Shots that it will give, as far as is known.
        fps: Shots a second; None for a picture.
        live: Whether it goes on without us: what is not fetched in time is lost.
        lossless: Whether it is stored without loss, so that drawings on it should be, too.
    """

    @property
    def title(self) -> str: ...
    @property
    def stem(self) -> str: ...
    @property
    def count(self) -> int | None: ...
    @property
    def fps(self) -> float | None: ...
    @property
    def live(self) -> bool: ...
    @property
    def lossless(self) -> bool: ...

    def __iter__(self) -> Iterator["Shot"]:
        """Yield the shots.

        Raises:
            DataError: It cannot be read; names it.
        """
        ...


@dataclass(frozen=True)
class Shot:
    """One picture, or one frame of a video or stream.

    Attributes:
        image: (H, W, 3) uint8 RGB, upright.
        source: Where it comes from.
        number: Of the frame, from 0, counted before any were left out; None for a picture.
        seconds: Of the frame, from the start of the video or stream; None for a picture.
    """

    image: Pixels
    source: Source
    number: int | None = None
    seconds: float | None = None

    @property
    def moment(self) -> tuple[int, float] | None:
        """Number and seconds of a frame; None for a picture."""
        if self.number is None or self.seconds is None:
            return None
        return self.number, self.seconds

    @property
    def size_hw(self) -> Size:
        return self.image.shape[0], self.image.shape[1]
