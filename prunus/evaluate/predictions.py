"""Detections <-> a COCO results file, for COCO's own tools and servers, and for `--compare`.

A list of `{"image_id", "category_id", "bbox", "score"}`; `bbox` is left, top, width, height in
pixels of the image on disk, rounded to 3 decimals, the score to 5. Images and categories have the
ids that the data set's COCO JSON gives them, so that COCO's tools take the file as it is; where
there is no such JSON, the ids of `image_ids`, and class indices from 0.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prunus.core.errors import ConfigError
from prunus.core.files import write_text
from prunus.core.records import Detections

if TYPE_CHECKING:
    from prunus.data.coco_ids import CocoIds


def save_predictions(
    path: Path,
    detections: Sequence[Detections],
    image_paths: Sequence[Path],
    ids: "CocoIds | None" = None,
) -> None:
    """Write the detections of all images, one a line, atomically.

    Args:
        path: The JSON file.
        detections: One entry an image.
        image_paths: The images, in the same order.
        ids: What a COCO JSON calls these images and the classes; else `image_ids` and indices.
    """
    write_text(path, to_json(detections, image_paths, ids))


def to_json(
    detections: Sequence[Detections],
    image_paths: Sequence[Path],
    ids: "CocoIds | None" = None,
) -> str:
    """Return the text that `save_predictions` writes.

    Raises:
        ValueError: A box or a score is not finite.
    """
    images = image_ids(image_paths) if ids is None else ids.images
    categories = None if ids is None else np.array(ids.categories, dtype=object)
    lines = [
        line
        for image, found in zip(images, detections, strict=True)
        for line in _lines(json.dumps(image), found, categories)
    ]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def from_json(
    text: str, image_paths: Sequence[Path], where: str, ids: "CocoIds | None" = None
) -> list[Detections]:
    """Return the detections of a text that `to_json` wrote, image by image.

    Args:
        text: The file's content.
        image_paths: The images, in the order wanted.
        where: The file, for errors.
        ids: Those that it was written with.

    Raises:
        ConfigError: It is no such text, or has an image that is not among these.
    """
    images = image_ids(image_paths) if ids is None else ids.images
    rows: dict[int | str, list[tuple[float, ...]]] = {image: [] for image in images}
    classes = None if ids is None else {number: n for n, number in enumerate(ids.categories)}
    try:
        for entry in json.loads(text):
            left, top, width, height = entry["bbox"]
            box = (left, top, left + width, top + height)
            category = entry["category_id"]
            class_ = category if classes is None else classes[category]
            rows[entry["image_id"]].append((*box, entry["score"], class_))
        return [_to_detections(found) for found in rows.values()]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ConfigError(
            f"{where}: no results file of these images ({type(error).__name__}: {error}). "
            "Run prunus val again."
        ) from error


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


def _lines(
    image_id: str, found: Detections, categories: NDArray[np.object_] | None
) -> Iterator[str]:
    """Yield the objects; written out by hand, which is five times as fast as a JSON encoder."""
    numbers = found.classes if categories is None else categories[found.classes]
    if not (np.isfinite(found.boxes_xyxy).all() and np.isfinite(found.scores).all()):
        raise ValueError(f"image {image_id}: a detection is not finite")
    for box, score, class_ in zip(
        found.boxes_xyxy.tolist(), found.scores.tolist(), numbers.tolist(), strict=True
    ):
        left, top, right, bottom = box
        yield (
            f'{{"image_id": {image_id}, "category_id": {class_}, "bbox": '
            f"[{left:.3f}, {top:.3f}, {right - left:.3f}, {bottom - top:.3f}], "
            f'"score": {score:.5f}}}'
        )


def _to_detections(rows: Sequence[tuple[float, ...]]) -> Detections:
    values = np.array(rows, dtype=np.float64).reshape(-1, 6)
    boxes, scores = values[:, :4].astype(np.float32), values[:, 4].astype(np.float32)
    return Detections(boxes, scores, values[:, 5].astype(np.int64))
