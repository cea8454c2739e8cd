"""COCO JSON: `annotations/<split>.json`, categories numbered from 1 in the classes' order."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from prunus.core.files import write_json
from prunus.data.convert.images import Placed
from prunus.data.convert.pixels import edges, tidy
from prunus.data.image_index import ImageIndex
from prunus.data.labels import Outline


def image_folder(split: str) -> str:
    return f"images/{split}"


def entry(split: str) -> str:
    return f"annotations/{split}.json"


def write(folder: Path, split: str, index: ImageIndex, images: Sequence[Placed]) -> None:
    """Write one JSON with every image, background included."""
    annotations: list[dict[str, object]] = []
    for number in range(len(images)):
        boxes, outlines = index.boxes_of(number), index.outlines_of(number)
        size_hw = index.sizes_hw[number]
        for box, outline in zip(boxes, outlines, strict=True):
            left, top, right, bottom = edges(box, size_hw)
            rings = _rings(outline, int(size_hw[0]), int(size_hw[1]))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": int(box[0]) + 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": sum(map(_area, rings)) if rings else (right - left) * (bottom - top),
                    "iscrowd": 0,
                    "segmentation": rings,
                }
            )
    content = {
        "images": [
            {
                "id": number + 1,
                "file_name": image.name,
                "width": int(index.sizes_hw[number, 1]),
                "height": int(index.sizes_hw[number, 0]),
            }
            for number, image in enumerate(images)
        ],
        "annotations": annotations,
        "categories": [
            {"id": number + 1, "name": name, "supercategory": ""}
            for number, name in enumerate(index.names)
        ],
    }
    write_json(folder / entry(split), content)


def loses(_index: ImageIndex) -> list[tuple[int, str]]:
    """Say that COCO can say all that an index holds."""
    return []


def _rings(outline: Outline, height: int, width: int) -> list[list[float]]:
    return [
        [tidy(float(x) * width, width) if axis == 0 else tidy(float(y) * height, height)
         for x, y in ring for axis in (0, 1)]
        for ring in outline
    ]  # fmt: skip


def _area(ring: list[float]) -> float:
    """Return the area of a polygon by the shoelace formula, in square pixels."""
    x, y = np.array(ring[::2]), np.array(ring[1::2])
    return round(abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2, 6)
