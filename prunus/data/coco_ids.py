"""The ids that a split's COCO JSON gives to its images and classes: for COCO's own tools."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from prunus.data.formats import FORMATS, coco
from prunus.data.spec import DataSpec


@dataclass(frozen=True)
class CocoIds:
    """COCO's names for images and classes.

    Attributes:
        images: Of each image, in the order of an index; no two alike.
        categories: Of each class; no two alike.
    """

    images: tuple[int | str, ...]
    categories: tuple[int, ...]


def coco_ids(spec: DataSpec, split: str, images: Sequence[Path]) -> CocoIds | None:
    """Return the ids of images and classes, or None when the split is not one COCO JSON.

    A class that has no category there gets the next free number, which COCO's tools pass over; one
    that has several gets the lowest.

    Args:
        spec: The data set.
        split: Its name.
        images: Some of the split's, as `build_index` lists them.

    Raises:
        DataError: The JSON is missing or of no use.
    """
    entries = spec.entries(split)
    if len(entries) != 1 or spec.format_of(entries[0]) is not FORMATS["coco"]:
        return None
    by_image, categories = coco.read_ids(spec.root, entries[0], spec.names)
    free = count(max(categories, default=0) + 1)
    by_class: dict[int, int] = {}
    for number, class_ in sorted(categories.items()):
        if class_ is not None:
            by_class.setdefault(class_, number)
    numbers = (by_class.get(class_) for class_ in range(len(spec.names)))
    return CocoIds(
        tuple(by_image[image] for image in images),
        tuple(next(free) if number is None else number for number in numbers),
    )
