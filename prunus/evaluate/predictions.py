"""Detections -> a COCO results file, for COCO's own tools and servers.

A list of `{"image_id", "category_id", "bbox", "score"}`; `bbox` is left, top, width, height in
pixels of the image on disk, rounded to 3 decimals, the score to 5.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from prunus.core.files import write_text
from prunus.core.records import Detections


def save_predictions(
    path: Path,
    detections: Sequence[Detections],
    image_paths: Sequence[Path],
    category_ids: Sequence[int] | None = None,
) -> None:
    """Write the detections of all images, one a line, atomically.

    Args:
        path: The JSON file.
        detections: One entry an image.
        image_paths: The images, in the same order; see `image_ids` for the ids that they get.
        category_ids: The id of each class; its index when None.
    """
    ids = image_ids(image_paths)
    lines = [
        line
        for image_id, found in zip(ids, detections, strict=True)
        for line in _lines(image_id, found, category_ids)
    ]
    write_text(path, "[\n" + ",\n".join(lines) + "\n]\n")


def image_ids(image_paths: Sequence[Path]) -> list[int]:
    """Return each image's id: the number that its file name is, or else its place from 0.

    COCO names its images by their id (`000000000139.jpg` is 139). One name that is no number, or
    two that are the same number, and all images are counted instead: a mixture could give one id to
    two images.
    """
    stems = [path.stem for path in image_paths]
    if all(stem.isascii() and stem.isdigit() for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(len(stems)))


def _lines(image_id: int, found: Detections, category_ids: Sequence[int] | None) -> Iterator[str]:
    for box, score, class_ in zip(
        found.boxes_xyxy.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True
    ):
        left, top, right, bottom = box
        yield json.dumps(
            {
                "image_id": image_id,
                "category_id": category_ids[class_] if category_ids is not None else class_,
                "bbox": [round(value, 3) for value in (left, top, right - left, bottom - top)],
                "score": round(score, 5),
            },
            allow_nan=False,
        )
