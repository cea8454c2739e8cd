"""A camera or stream: a thread reads on, the newest frame wins, and late ones are dropped."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Condition, Event, Thread
from typing import Protocol

from prunus.core.console import log
from prunus.core.errors import DataError
from prunus.data.decode import Pixels
from prunus.predict.shot import Shot

PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Waits before each attempt to connect again; afterwards the stream has ended."""
JOIN_S = 2.0
"""How long the end waits for a reader that hangs in a read."""
USUAL_FPS = 25.0
"""Of a stream that does not say."""


class Camera(Protocol):
    """What gives frames until it is closed."""

    fps: float | None

    def read(self) -> Pixels | None:
        """Wait for the next frame, (H, W, 3) uint8 RGB; None when the connection is lost."""
        ...

    def close(self) -> None: ...


@dataclass
class LiveSource:
    """A running camera or stream; see `shot.Source`. Is read once.

    Attributes:
        title: What it is called; no passwords.
        stem: What files about it are called.
        connect: Opens it; raises a DataError.
        vid_stride: Every so many-th frame is looked at.
        pauses_s: Before each attempt to connect again.
        received: Frames that came.
        dropped: Frames that were due and came too early: another followed before they were fetched.
        reconnects: How often the connection was lost and made again.
        lost: Whether it ended because it could not be made again.
    """

    title: str
    stem: str
    connect: Callable[[], Camera]
    vid_stride: int = 1
    pauses_s: tuple[float, ...] = PAUSES_S
    received: int = 0
    dropped: int = 0
    reconnects: int = 0
    lost: bool = False
    _rate: float = USUAL_FPS
    _slot: tuple[Pixels, int, float] | None = None
    _fresh: Condition = field(default_factory=Condition)
    _stop: Event = field(default_factory=Event)
    count = None
    live = True
    lossless = False

    @property
    def fps(self) -> float:
        return self._rate / self.vid_stride

    def __iter__(self) -> Iterator[Shot]:
        camera = self.connect()
        self._rate = camera.fps or USUAL_FPS
        reader = Thread(target=self._read_on, args=(camera,), name="live source", daemon=True)
        reader.start()
        try:
            while (latest := self._fetch()) is not None:
                image, number, seconds = latest
                yield Shot(image, self, number, seconds)
        finally:
            self._stop.set()
            reader.join(JOIN_S)

    def _fetch(self) -> tuple[Pixels, int, float] | None:
        """Wait for a frame that was not fetched yet; None at the end."""
        with self._fresh:
            self._fresh.wait_for(lambda: self._slot is not None or self.lost)
            latest, self._slot = self._slot, None
            return latest

    def _read_on(self, camera: Camera | None) -> None:
        """Keep the newest frame in the slot until told to stop, or the connection is lost."""
        start = time.monotonic()
        try:
            while camera is not None and not self._stop.is_set():
                image = camera.read()
                if image is None:
                    camera.close()
                    camera = self._connect_again()
                else:
                    self._offer(image, time.monotonic() - start)
        finally:
            if camera is not None:
                camera.close()
            with self._fresh:
                self.lost = not self._stop.is_set()
                self._fresh.notify()

    def _offer(self, image: Pixels, seconds: float) -> None:
        with self._fresh:
            number, self.received = self.received, self.received + 1
            if number % self.vid_stride:
                return
            self.dropped += self._slot is not None
            self._slot = (image, number, seconds)
            self._fresh.notify()

    def _connect_again(self) -> Camera | None:
        for attempt, pause in enumerate(self.pauses_s, start=1):
            log.warning(
                "%s: no frames; connecting again in %g s (%d of %d)",
                self.title, pause, attempt, len(self.pauses_s),
            )  # fmt: skip
            if self._stop.wait(pause):
                return None
            try:
                camera = self.connect()
            except DataError:
                continue
            self.reconnects += 1
            return camera
        log.warning("%s: the connection is lost", self.title)
        return None
