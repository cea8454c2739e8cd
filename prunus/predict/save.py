"""Detections on disk: annotated pictures, YOLOv5's label lines, and one JSON object an image."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from prunus.core.files import write_atomically, write_text
from prunus.core.records import Detections, Frame, Size
from prunus.data.letterbox import load_image
from prunus.predict.config import PredictConfig
from prunus.predict.draw import Picture, draw

LABEL_FOLDER = "labels"
JPEG_QUALITY = 92
LOSSLESS = (".png", ".bmp", ".tif", ".tiff")
"""Such images are annotated as PNG, all others as JPEG."""


def write_results(
    frame: Frame,
    detections: Detections,
    names: Sequence[str],
    settings: PredictConfig,
    place: Path,
) -> None:
    """Write what the settings ask for about one image: label file, annotated picture.

    Args:
        frame: The image.
        detections: In its pixels.
        names: Class names, by index.
        settings: What to write, and how to draw.
        place: Folder and name of the picture, without suffix.
    """
    if settings.save_txt:
        lines = to_label_lines(detections, frame.size_hw, with_scores=settings.save_conf)
        write_text(place.parent / LABEL_FOLDER / f"{place.name}.txt", lines)
    if settings.save_images:
        picture = draw(
            load_image(frame.path),
            detections,
            names,
            line_width=settings.line_width,
            with_names=not settings.hide_labels,
            with_scores=not settings.hide_conf,
        )
        suffix = ".png" if frame.path.suffix.lower() in LOSSLESS else ".jpg"
        write_picture(place.parent / f"{place.name}{suffix}", picture)


def write_picture(path: Path, picture: Picture) -> None:
    """Write an RGB picture as JPEG or PNG, by the suffix."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    written, encoded = cv2.imencode(path.suffix, bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not written:
        raise ValueError(f"OpenCV cannot write '{path.suffix}' files")
    write_atomically(path, lambda temporary: temporary.write_bytes(encoded.tobytes()))


def free_names(paths: Sequence[Path]) -> Iterator[str]:
    """Yield a name without suffix for each image; `a/1.jpg` and `b/1.png` give `1` and `1-2`."""
    taken = Counter[str]()
    for path in paths:
        name = path.stem
        while taken[name]:
            taken[path.stem] += 1
            name = f"{path.stem}-{taken[path.stem]}"
        taken[name] += 1
        yield name


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
    path: Path, size_hw: Size, detections: Detections, names: Sequence[str]
) -> dict[str, object]:
    """Return what JSON lines hold for one image; boxes in its pixels, to a hundredth."""
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
    return {"image": str(path), "size_hw": list(size_hw), "detections": found}


def json_lines(records: Iterable[dict[str, object]]) -> str:
    """Return one JSON object a line."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
