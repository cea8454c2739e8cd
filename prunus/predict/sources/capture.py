"""OpenCV's video reader, made quiet and safe: one place for its odd answers."""

import math
from collections.abc import Sequence
from typing import Any

import cv2

from prunus.core.errors import DataError
from prunus.data.decode import MAX_PIXELS, Pixels
from prunus.predict.quiet import be_quiet

MAX_FPS = 1000.0
"""What says more, or nothing, does not know its rate."""


class Capture:
    """An opened video, camera or stream.

    Attributes:
        title: What errors call it.
        fps: Frames a second; None where that is not known.
        frames: How many; None where that is not known.
    """

    def __init__(self, source: str | int, title: str, options: Sequence[int] = ()) -> None:
        """Open it.

        Args:
            source: A file, an address, or a camera's number.
            title: What errors call it; an address may hold a password.
            options: OpenCV's pairs of property and value.

        Raises:
            DataError: It cannot be opened, or its pictures are too large.
        """
        be_quiet()
        self.title = title
        backend = cv2.CAP_ANY if isinstance(source, int) else cv2.CAP_FFMPEG
        try:
            self._reader = cv2.VideoCapture(source, backend, list(options))
        except cv2.error as error:
            raise DataError(f"{title}: cannot be opened: {_one_line(error)}.") from error
        if not self._reader.isOpened():
            raise DataError(f"{title}: {_advice(source)}")
        self.fps = _known(self._reader.get(cv2.CAP_PROP_FPS), MAX_FPS)
        frames = _known(self._reader.get(cv2.CAP_PROP_FRAME_COUNT), 1e9)
        self.frames = None if frames is None else int(frames)
        width, height = (
            int(self._reader.get(side))
            for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if width * height > MAX_PIXELS:
            self.close()
            most = MAX_PIXELS // 1_000_000
            raise DataError(f"{title}: {width}x{height} pixels, over {most} megapixels.")

    def skip(self) -> bool:
        """Go to the next frame; say whether there is one."""
        try:
            return bool(self._reader.grab())
        except cv2.error:
            return False

    def seconds(self) -> float:
        """Return the time of the frame that was gone to."""
        return float(self._reader.get(cv2.CAP_PROP_POS_MSEC)) / 1000

    def picture(self) -> Pixels | None:
        """Return the frame that was gone to, (H, W, 3) uint8 RGB; None where it is damaged."""
        try:
            there, frame = self._reader.retrieve()
            if not there or frame is None:
                return None
            rgb: Any = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB, dst=frame)
        except cv2.error:
            return None
        return rgb  # type: ignore[no-any-return]

    def read(self) -> Pixels | None:
        """Return the next frame, as `picture` does; None where there is none."""
        return self.picture() if self.skip() else None

    def close(self) -> None:
        self._reader.release()


def _known(value: float, most: float) -> float | None:
    return value if math.isfinite(value) and 0 < value <= most else None


def _advice(source: str | int) -> str:
    if isinstance(source, int):
        return "no such camera, or another program holds it."
    if "://" in source:
        return "no connection. Check address, user and password, and that the stream is running."
    return "no video that can be decoded: damaged, cut off, or of an unknown codec. Convert it."


def _one_line(error: cv2.error) -> str:
    return " ".join(str(error).split())
