"""`crops/CLASS/…jpg`: each box as a picture of its own."""

import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from prunus.core.files import write_atomically
from prunus.core.records import Detections
from prunus.data.decode import Pixels
from prunus.predict.save import encode_picture, picture_suffix
from prunus.predict.shot import Shot
from prunus.predict.stages import Stages

FOLDER = "crops"
UNFIT = re.compile(r"[^\w .()-]+")
MAX_NAME = 80


class Crops:
    """See `outputs.Output`. Boxes without a whole pixel are left out."""

    def __init__(self, folder: Path, names: Sequence[str], stages: Stages) -> None:
        self._stages = stages
        self._folders = [
            folder / FOLDER / folder_name(name, number) for number, name in enumerate(names)
        ]

    def write(self, shot: Shot, detections: Detections, name: str) -> None:
        frame = "" if shot.number is None else f"_{shot.number:06d}"
        for place, (number, box) in enumerate(
            zip(detections.classes, detections.boxes_xyxy.tolist(), strict=True), start=1
        ):
            with self._stages.measure("draw"):
                part = cut_out(shot.image, box)
                if not part.size:
                    continue
                suffix = picture_suffix(
                    (part.shape[0], part.shape[1]), lossless=shot.source.lossless
                )
                content = encode_picture(part, suffix)
            with self._stages.measure("write"):
                path = self._folders[number] / f"{name}{frame}_{place}{suffix}"
                write_atomically(path, partial(_fill, content))

    def close(self) -> None:
        """Nothing is open."""


def _fill(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def cut_out(image: Pixels, box_xyxy: Sequence[float]) -> Pixels:
    """Return the pixels that a box touches; none where it lies outside."""
    left, top = (max(math.floor(side), 0) for side in box_xyxy[:2])
    right, bottom = (max(math.ceil(side), 0) for side in box_xyxy[2:])
    return image[top:bottom, left:right]


def folder_name(class_name: str, number: int) -> str:
    """Return a class's name as a folder's: nothing in it leads elsewhere."""
    plain = UNFIT.sub("-", class_name).strip(". -")[:MAX_NAME].rstrip(". ")
    return plain or f"class {number}"
