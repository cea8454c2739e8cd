"""The records of a new COCO JSON as text: old ones as they stand, or made from the index."""

import json
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from prunus.data.checks import EDGE_TOLERANCE
from prunus.data.convert.coco_ids import Numbering, Record
from prunus.data.convert.extras import Carried
from prunus.data.convert.images import Placed
from prunus.data.convert.pixels import edges, tidy
from prunus.data.formats.source import Extras
from prunus.data.image_index import ImageIndex
from prunus.data.labels import Outline

ENCODER = json.JSONEncoder(allow_nan=False)
Size = tuple[int, int]


def encoded(item: object, instead: object = None) -> str:
    """Return JSON: of something else where an item holds NaN or is nested too deeply."""
    try:
        return ENCODER.encode(item)
    except (ValueError, RecursionError):
        return ENCODER.encode(instead)


def images(
    index: ImageIndex, places: Sequence[Placed], numbering: Numbering, extras: Carried
) -> Iterator[str]:
    """Yield every image."""
    for number, (placed, extra) in enumerate(zip(places, extras, strict=True)):
        height, width = _stated_size(index, number, extra)
        own = {"id": numbering.images[number], "file_name": placed.name}
        least = {**own, "width": width, "height": height}
        yield encoded({**extra.image, **own} if extra else least, least)


def annotations(index: ImageIndex, numbering: Numbering, extras: Carried) -> Iterator[str]:
    """Yield the rows of every image, and the crowds that it came with."""
    for image, extra in enumerate(extras):
        size_hw = _stated_size(index, image, extra)
        boxes, outlines = index.boxes_of(image), index.outlines_of(image)
        records = extra.objects if extra else (None,) * len(boxes)
        for box, outline, record in zip(boxes, outlines, records, strict=True):
            ids = numbering.of_annotation(image, int(box[0]), record)
            fresh = {**ids, **_fresh(box, outline, size_hw)}
            kept = {**_kept(record, fresh, size_hw), **ids} if record else fresh
            yield encoded(kept, fresh)
        for crowd, class_ in kept_crowds(extra, numbering):
            yield encoded({**crowd, **numbering.of_annotation(image, class_, crowd)})


def kept_crowds(extra: Extras | None, numbering: Numbering) -> list[tuple[Record, int]]:
    """Return an image's crowds with their classes; those only that can be written."""
    if extra is None:
        return []
    classes = [extra.file.classes.get(int(crowd["category_id"])) for crowd in extra.unlearnt]
    return [
        (crowd, class_ or 0)
        for crowd, class_ in zip(extra.unlearnt, classes, strict=True)
        if (class_ is not None or numbering.facts) and encoded(crowd) != "null"
    ]


def _stated_size(index: ImageIndex, image: int, extra: Extras | None) -> Size:
    """Return the (height, width) in px that old records count in, or else the image's own."""
    if extra:
        return extra.image["height"], extra.image["width"]
    height, width = index.sizes_hw[image].tolist()
    return height, width


def _kept(record: Record, fresh: Record, size_hw: Size) -> Record:
    """Return an old annotation, with what it lacks, and its box anew if it was cut."""
    box = list(record["bbox"])
    height, width = size_hw
    tolerance = np.array([width, height, width, height]) * EDGE_TOLERANCE / 2
    same = np.abs(np.array([float(value) for value in box]) - fresh["bbox"]) <= tolerance
    numbers = all(isinstance(value, int | float) for value in box)
    kept = box if numbers and same.all() else fresh["bbox"]
    return {**fresh, **record, "bbox": kept}


def _fresh(box: NDArray[np.float32], outline: Outline, size_hw: Size) -> Record:
    left, top, right, bottom = edges(box, size_hw)
    rings = _rings(outline, *size_hw)
    return {
        "bbox": [left, top, right - left, bottom - top],
        "area": sum(map(_area, rings)) if rings else (right - left) * (bottom - top),
        "iscrowd": 0,
        "segmentation": rings,
    }


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
