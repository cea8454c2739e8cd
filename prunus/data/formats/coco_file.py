"""A COCO JSON, read and checked: which images, which annotations belong to each."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from prunus.core.errors import DataError

MAX_JSON_BYTES = 2 << 30
"""COCO's largest file, of 118,287 images, has 449 MB."""
FEWEST_RING_NUMBERS = 6
MAX_SIDE_PX = 1 << 31
"""Sides beyond are taken for not stated: no image format knows larger ones."""
MAX_COORDINATE_PX = 1e9
"""A polygon further out is no slip of the pen, and squares of it must fit single precision."""


class Annotation(NamedTuple):
    """One object.

    Attributes:
        number: Its place in the file, from 1: what a message can name.
        category: COCO's id of its category.
        bbox_xywh: Left, top, width, height in pixels.
        rings: (k, 2) float64 pixels each; none for a box or a run-length mask.
        crowd: Whether it is a group.
    """

    number: int
    category: int
    bbox_xywh: tuple[float, float, float, float]
    rings: tuple[NDArray[np.float64], ...]
    crowd: bool


@dataclass(frozen=True)
class CocoFile:
    """What a JSON says.

    Attributes:
        categories: Id to name.
        images: File name and (height, width) as written, None when it is not.
        ids: COCO's id of each image.
        annotations: Those of each image.
        run_lengths: How many masks are run-length coded, crowds not counted.
        problems: Numbers, messages and rules of annotations that belong to no image or are
            malformed.
    """

    categories: dict[int, str]
    images: list[tuple[str, tuple[int, int] | None]]
    ids: list[int | str]
    annotations: list[list[Annotation]]
    run_lengths: int
    problems: list[tuple[int, str, str]]


def parse(file: Path) -> CocoFile:
    """Read and check a file.

    Raises:
        DataError: One clause, without the file's name: it is no COCO JSON.
    """
    content = read_content(file)
    images, ids = _images(content["images"])
    categories = _categories(content.get("categories", []))
    places: dict[object, int] = {id_: place for place, id_ in enumerate(ids)}
    annotations: list[list[Annotation]] = [[] for _ in images]
    problems: list[tuple[int, str, str]] = []
    run_lengths = 0
    for number, item in enumerate(content.get("annotations", []), start=1):
        place = _place(item, places)
        if place is None:
            message = f"annotation {number}: of no image: box dropped"
            problems.append((number, message, "box-coordinates"))
            continue
        try:
            read, is_rle = _annotation(number, item)
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            message = f"annotation {number}: {error or 'no box'}: box dropped"
            problems.append((number, " ".join(message.split()), "box-coordinates"))
            continue
        annotations[place].append(read)
        run_lengths += is_rle and not read.crowd
    return CocoFile(categories, images, ids, annotations, run_lengths, problems)


def read_content(file: Path) -> dict[str, Any]:
    """Return what the JSON holds, with lists `images`, `annotations` and `categories` if any.

    Raises:
        DataError: One clause, without the file's name: it is no COCO JSON.
    """
    if not file.is_file() or file.stat().st_size > MAX_JSON_BYTES:
        raise DataError(f"no regular file, or over {MAX_JSON_BYTES >> 30} GB")
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"not valid JSON: {error}") from error
    wanted = content.get("images") if isinstance(content, dict) else None
    lists = isinstance(wanted, list) and isinstance(content.get("annotations", []), list)
    if not lists or not isinstance(content.get("categories", []), list):
        raise DataError("not a COCO file: it has no lists 'images', 'annotations', 'categories'")
    return dict(content)


def _images(
    listed: list[Any],
) -> tuple[list[tuple[str, tuple[int, int] | None]], list[int | str]]:
    """Return the images and their ids."""
    images: list[tuple[str, tuple[int, int] | None]] = []
    ids: dict[int | str, None] = {}
    seen: set[str] = set()
    for number, item in enumerate(listed, start=1):
        if not isinstance(item, dict) or not isinstance(item.get("file_name"), str):
            raise DataError(f"images: {number} has no 'file_name'")
        if not isinstance(item.get("id"), int | str) or item["id"] in ids:
            raise DataError(f"images: {number} has no 'id', or another image's")
        if item["file_name"] in seen:
            raise DataError(f"images: {number} has the 'file_name' of an earlier one; join the two")
        seen.add(item["file_name"])
        ids[item["id"]] = None
        sides = item.get("height"), item.get("width")
        stated = all(isinstance(side, int) and 0 < side < MAX_SIDE_PX for side in sides)
        images.append((item["file_name"], sides if stated else None))  # type: ignore[arg-type]
    return images, list(ids)


def _place(item: Any, places: dict[object, int]) -> int | None:
    image = item.get("image_id") if isinstance(item, dict) else None
    return places.get(image) if isinstance(image, int | float | str) else None


def _categories(listed: list[Any]) -> dict[int, str]:
    categories: dict[int, str] = {}
    for number, item in enumerate(listed, start=1):
        if not isinstance(item, dict) or not isinstance(item.get("id"), int):
            raise DataError(f"categories: {number} has no 'id'")
        if not isinstance(item.get("name"), str) or not item["name"].strip():
            raise DataError(f"categories: {number} has no 'name'")
        categories[item["id"]] = item["name"].strip()
    return categories


def _annotation(number: int, item: dict[str, Any]) -> tuple[Annotation, bool]:
    """Return an annotation, and whether its mask is run-length coded.

    Raises:
        TypeError, ValueError, KeyError, OverflowError: It has no category or box.
    """
    if "bbox" not in item or "category_id" not in item:
        raise ValueError("no 'bbox' or no 'category_id'")
    box = tuple(float(value) for value in item["bbox"])
    if len(box) != 4:
        raise ValueError(f"bbox has {len(box)} numbers, not 4")
    mask = item.get("segmentation")
    rings = _rings(mask) if isinstance(mask, list) else ()
    crowd = bool(item.get("iscrowd", 0))
    read = Annotation(number, int(item["category_id"]), box, rings, crowd)
    return read, isinstance(mask, dict)


def _rings(mask: list[Any]) -> tuple[NDArray[np.float64], ...]:
    """Return the rings that are polygons; degenerate ones are no loss, the box stays."""
    rings = []
    for ring in mask:
        points = [float(value) for value in ring]
        if len(points) >= FEWEST_RING_NUMBERS and len(points) % 2 == 0:
            if not all(abs(value) <= MAX_COORDINATE_PX for value in points):  # nor NaN
                raise ValueError("segmentation is not finite, or far outside the image")
            rings.append(np.array(points).reshape(-1, 2))
    return tuple(rings)
