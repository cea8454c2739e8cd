"""A video file, whole or not at all."""

import math
import os
from contextlib import suppress
from pathlib import Path

import cv2

from prunus.core.errors import PrunusError
from prunus.core.records import Size
from prunus.predict.draw import Picture
from prunus.predict.quiet import be_quiet

SUFFIX, CODEC = ".mp4", "mp4v"
"""MPEG-4 part 2: what OpenCV's own FFmpeg can always write. H.264 it cannot, for its licence."""
MAX_STILL_S = 2.0
"""A live frame stands no longer than this: a gap while connecting again is cut short."""


class Film:
    """Writes frames of one size to a temporary file; `close` gives it its name.

    Attributes:
        size_hw: Of the frames, in pixels. The codec takes even sides: an odd row or column is lost.
    """

    def __init__(self, path: Path, size_hw: Size, fps: float) -> None:
        """Begin the file.

        Raises:
            PrunusError: It cannot be written.
        """
        self._path, self.size_hw, self._fps = path, size_hw, fps
        self._unfinished = path.with_name(f".{path.stem}.unfinished{SUFFIX}")
        self._written, self._start = 0, 0.0
        with suppress(OSError):  # then it cannot be opened either
            path.parent.mkdir(parents=True, exist_ok=True)
        size_wh = (size_hw[1], size_hw[0])
        be_quiet()
        codec = cv2.VideoWriter.fourcc(*CODEC)
        self._writer = cv2.VideoWriter(
            os.fspath(self._unfinished.absolute()), cv2.CAP_FFMPEG, codec, fps, size_wh
        )
        if not self._writer.isOpened():
            self._remove()
            raise PrunusError(
                f"{path}: no {CODEC} video of {size_wh[0]}x{size_wh[1]} can be written there. "
                "Choose another place with --out, or give --no-save-images."
            )

    def add(self, picture: Picture, seconds: float | None = None) -> None:
        """Add a frame.

        Args:
            picture: (*size_hw, 3) uint8 RGB.
            seconds: When it was seen, if frames come at no even pace: it is then written as often
                as is due by now, so that the video is as fast as what it shows.
        """
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        for _ in range(self._due(seconds)):
            self._writer.write(bgr)
            self._written += 1

    def close(self) -> None:
        """End the file and give it its name.

        Raises:
            PrunusError: The disk was full.
        """
        self._writer.release()
        try:
            if self._written and not self._unfinished.stat().st_size:
                raise PrunusError(f"{self._path}: not written: the disk is full.")
            self._unfinished.replace(self._path)
        except OSError as error:
            raise PrunusError(f"{self._path}: not written: {error.strerror or error}.") from error
        finally:
            self._remove()

    def _due(self, seconds: float | None) -> int:
        """Return how often the frame is written: at least once."""
        if seconds is None:
            return 1
        if not self._written:
            self._start = seconds
        behind = round((seconds - self._start) * self._fps) + 1 - self._written
        if behind > MAX_STILL_S * self._fps:  # the gap is left out for good
            most = math.ceil(MAX_STILL_S * self._fps)
            self._start += (behind - most) / self._fps
            behind = most
        return max(behind, 1)

    def _remove(self) -> None:
        with suppress(OSError):
            self._unfinished.unlink(missing_ok=True)
