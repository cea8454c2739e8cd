"""Streams: the newest frame wins, connections come back, and an end is an end."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from prunus.core.errors import DataError
from prunus.data.decode import Pixels
from prunus.predict.sources.live import LiveSource
from prunus.predict.sources.stream import open_source


class Script:
    """A `Camera` that gives what a script says: frames (their number as grey value), then None.

    Attributes:
        closed: Whether it was closed.
    """

    fps = 10.0

    def __init__(self, frames: Iterator[int]) -> None:
        self._frames = frames
        self.closed = False

    def read(self) -> Pixels | None:
        number = next(self._frames, None)
        return None if number is None else np.full((4, 4, 3), number, np.uint8)

    def close(self) -> None:
        self.closed = True


def source(*cameras: Script | DataError, vid_stride: int = 1) -> LiveSource:
    """Return a source that connects to one camera after the other, then to none."""
    coming = iter(cameras)

    def connect() -> Script:
        camera = next(coming, DataError("cam: no connection."))
        if isinstance(camera, DataError):
            raise camera
        return camera

    return LiveSource("cam", "cam", connect, vid_stride, pauses_s=(0.0, 0.0, 0.0))


def at_once(count: int, fetched: threading.Event) -> Iterator[int]:
    """Give one frame; once it was fetched, many at once."""
    yield 0
    assert fetched.wait(5)
    yield from range(1, count)


def test_the_newest_frame_wins_and_late_ones_are_counted() -> None:
    fetched = threading.Event()
    live = source(Script(at_once(50, fetched)))
    shots = iter(live)
    assert next(shots).number == 0
    fetched.set()
    while not live.lost:
        time.sleep(0.001)
    last = next(shots)
    assert last.number == 49
    assert last.image[0, 0, 0] == 49
    assert (live.received, live.dropped) == (50, 48)
    assert next(shots, None) is None


@pytest.mark.parametrize("vid_stride", [1, 3])
def test_a_slow_stream_loses_nothing(vid_stride: int) -> None:
    fetched: list[int] = []

    def frames() -> Iterator[int]:
        for number in range(9):
            while len(fetched) < -(-number // vid_stride):
                time.sleep(0.0005)
            yield number

    live = source(Script(frames()), vid_stride=vid_stride)
    times = []
    for shot in live:
        fetched.append(shot.number or 0)
        times.append(shot.seconds)
    assert fetched == list(range(0, 9, vid_stride))
    assert live.dropped == 0
    assert times == sorted(times)
    assert live.fps == pytest.approx(10 / vid_stride)


def test_a_lost_connection_is_made_again_a_bounded_number_of_times() -> None:
    cameras = [Script(iter([1])), Script(iter([2])), Script(iter([3]))]
    gone = DataError("cam: no connection.")
    live = source(cameras[0], gone, gone, cameras[1], gone, cameras[2])
    last = [int(shot.image[0, 0, 0]) for shot in live][-1]
    assert last == 3
    assert (live.received, live.reconnects, live.lost) == (3, 2, True)
    assert all(camera.closed for camera in cameras)


def test_who_cannot_connect_at_first_is_told_at_once() -> None:
    with pytest.raises(DataError, match="cam: no connection"):
        list(source())


def endless() -> Iterator[int]:
    while True:
        time.sleep(0.001)
        yield 7


def test_who_stops_looking_stops_the_reader() -> None:
    camera = Script(endless())
    before = threading.active_count()
    live = source(camera)
    shots = iter(live)
    next(shots)
    assert threading.active_count() == before + 1
    shots.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert camera.closed
    assert not live.lost


class Broken(Script):
    def read(self) -> Pixels | None:
        raise RuntimeError("a driver's fault")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_reader_that_dies_ends_the_stream() -> None:
    live = source(Broken(iter(())))
    assert list(live) == []
    assert live.lost


def test_no_server_ends_in_one_line_without_the_password(
    capfd: pytest.CaptureFixture[str],
) -> None:
    stream = open_source("rtsp://root:plum@127.0.0.1:1/cam", 1)
    with pytest.raises(
        DataError, match=r"^rtsp://127\.0\.0\.1:1/cam: no connection\. Check"
    ) as error:
        list(stream)
    assert "plum" not in str(error.value)
    assert capfd.readouterr().err == "", "FFmpeg's own complaints"
