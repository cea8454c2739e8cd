"""Video files: every frame, or every n-th, decoded as it is asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from prunus.core.console import log
from prunus.core.errors import DataError, printable
from prunus.predict.shot import Shot, Source
from prunus.predict.sources.capture import Capture

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".ts", ".flv",
)  # fmt: skip
USUAL_FPS = 25.0
"""Of a video that does not say."""
MISSING_SHARE = 0.02
"""Of the header's number of frames, which is an estimate: when more is missing, that is told."""


@dataclass(frozen=True)
class VideoFile:
    """One video; see `shot.Source`.

    Attributes:
        path: The file.
        vid_stride: Every so many-th frame is looked at.
    """

    path: Path
    vid_stride: int = 1
    live = False
    lossless = False

    @property
    def title(self) -> str:
        return str(self.path)

    @property
    def stem(self) -> str:
        return self.path.stem

    @property
    def count(self) -> int | None:
        frames = self._header[1]
        return None if frames is None else -(-frames // self.vid_stride)

    @property
    def fps(self) -> float:
        return (self._header[0] or USUAL_FPS) / self.vid_stride

    @cached_property
    def _header(self) -> tuple[float | None, int | None]:
        """Rate and number of frames; None where the file does not say, or cannot be read."""
        try:
            capture = Capture(_plain(self.path), self.title)
        except DataError:  # told when its frames are asked for
            return None, None
        capture.close()
        return capture.fps, capture.frames

    def __iter__(self) -> Iterator[Shot]:
        capture = Capture(_plain(self.path), printable(self.title))
        number, damaged = 0, 0
        try:
            while capture.skip():
                if number % self.vid_stride == 0:
                    image = capture.picture()
                    if image is None:
                        damaged += 1
                    else:
                        yield Shot(image, self, number, capture.seconds())
                number += 1
        finally:
            capture.close()
        self._tell(number, damaged, capture.frames)

    def _tell(self, frames: int, damaged: int, expected: int | None) -> None:
        """Log what is missing.

        Raises:
            DataError: All of it.
        """
        title = printable(self.title)
        if frames == 0:
            raise DataError(f"{title}: no frame can be decoded. Convert the video.")
        if damaged:
            log.warning("%s: %d frames are damaged and were left out", title, damaged)
        if expected is not None and frames < expected * (1 - MISSING_SHARE):
            log.warning("%s: ends after %d of %d frames", title, frames, expected)


def claims(word: str) -> bool:
    return Path(word).suffix.lower() in VIDEO_SUFFIXES


def open_source(word: str, vid_stride: int) -> Source:
    return VideoFile(Path(word), vid_stride)


def _plain(path: Path) -> str:
    """Return a name that FFmpeg takes for a file: `a:b.mp4` is none of its protocols."""
    return str(path.resolve())
