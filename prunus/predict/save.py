"""Detections as files hold them: pictures, YOLOv5's label lines, and one JSON object an image."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from prunus.core.files import write_atomically
from prunus.core.records import Detections, Size
from prunus.predict.draw import Picture

LABEL_FOLDER = "labels"
JPEG_QUALITY = 92
PART = re.compile(r"(_\d{6,}|\.part\d+)$")
"""What the files of a video's frames and parts add to its name."""
MAX_JPEG_SIDE = 65_500
"""The most that libjpeg writes."""


def write_picture(path: Path, picture: Picture) -> None:
    """Write an RGB picture as JPEG or PNG, by the suffix."""
    content = encode_picture(picture, path.suffix)
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def encode_picture(picture: Picture, suffix: str) -> bytes:
    """Return an RGB picture as a JPEG or PNG file, by the suffix."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    is_png = suffix.lower() == ".png"  # OpenCV warns of a quality that PNG does not have
    settings = [] if is_png else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    written, encoded = cv2.imencode(suffix, bgr, settings)
    if not written:
        raise ValueError(f"OpenCV cannot write '{suffix}' files of {picture.shape}")
    return encoded.tobytes()


def picture_suffix(size_hw: Size, *, lossless: bool) -> str:
    """Return ".png" for what was stored without loss, or is too large for JPEG; else ".jpg"."""
    return ".png" if lossless or max(size_hw) > MAX_JPEG_SIDE else ".jpg"


class FreeNames:
    """Names without suffix, none twice: `a/1.jpg` and `b/1.png` give `1` and `1-2`.

    Files of a video's frames and parts add to its name: a video `a` leaves none of `a_000001` and
    `a.part2` to others, and where one of these was first, it becomes `a-2` itself.
    """

    def __init__(self) -> None:
        self._taken, self._videos, self._like_parts = set[str](), set[str](), set[str]()
        self._counts = Counter[str]()

    def of(self, stem: str, *, video: bool = False) -> str:
        """Return the stem, or if it is taken the stem and a number."""
        name = stem
        while not self._is_free(name, video):
            self._counts[stem] += 1
            name = f"{stem}-{self._counts[stem] + 1}"
        self._taken.add(name)
        self._like_parts.add(PART.sub("", name))
        if video:
            self._videos.add(name)
        return name

    def _is_free(self, name: str, video: bool) -> bool:
        whole = PART.sub("", name)
        is_part = whole != name and whole in self._videos
        return not (name in self._taken or is_part or (video and name in self._like_parts))


def free_names(paths: Iterable[Path]) -> Iterator[str]:
    """Yield a name without suffix for each image; see `FreeNames`."""
    names = FreeNames()
    for path in paths:
        yield names.of(path.stem)


def to_label_lines(detections: Detections, size_hw: Size, *, with_scores: bool) -> str:
    """Return YOLOv5's label format: `class cx cy w h [score]` a line, six significant digits.

    Args:
        detections: In pixels of the image.
        size_hw: The image; centre and size are written as shares of it.
        with_scores: Write the sixth column.
    """
    height, width = size_hw
    boxes = detections.boxes_xyxy.astype(np.float64)
    centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    shares: NDArray[np.float64] = np.hstack((centres, sizes)) / [width, height, width, height]
    lines = []
    for number, row, score in zip(detections.classes, shares, detections.scores, strict=True):
        values = [*row, score] if with_scores else row
        lines.append(" ".join([str(number), *(f"{value:.6g}" for value in values)]))
    return "".join(line + "\n" for line in lines)


def to_record(
    title: str,
    size_hw: Size,
    detections: Detections,
    names: Sequence[str],
    moment: tuple[int, float] | None = None,
) -> dict[str, object]:
    """Return what JSON lines hold for one image; boxes in its pixels, to a hundredth.

    Args:
        title: The image's path, or the stream.
        size_hw: The image.
        detections: In its pixels.
        names: Class names, by index.
        moment: Number and seconds of a frame of a video; None for a picture.
    """
    found = [
        {
            "class": int(number),
            "name": names[number],
            "score": round(float(score), 4),
            "box_xyxy": [round(float(side), 2) for side in box],
        }
        for number, score, box in zip(
            detections.classes, detections.scores, detections.boxes_xyxy, strict=True
        )
    ]
    when = {} if moment is None else {"frame": moment[0], "seconds": round(moment[1], 3)}
    return {"image": title, **when, "size_hw": list(size_hw), "detections": found}


def json_line(record: dict[str, object]) -> str:
    """Return one JSON object as a line."""
    return json.dumps(record, ensure_ascii=False) + "\n"
