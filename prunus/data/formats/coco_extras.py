"""What a COCO JSON holds of some images, record by record as it stands: for conversion."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from prunus.core.errors import DataError
from prunus.data.formats.coco_file import read_content
from prunus.data.formats.source import Extras

LISTS = ("images", "annotations", "categories")


class Numbered(NamedTuple):
    """Where one image's records are.

    Attributes:
        image: Its place in the file, from 0.
        stated_hw: The size in px that its boxes are shares of.
        objects: The number, from 1, of the annotation of each row of its labels.
        crowds: The numbers of its crowds.
    """

    image: int
    stated_hw: tuple[int, int]
    objects: tuple[int, ...]
    crowds: tuple[int, ...]


class CocoFacts(NamedTuple):
    """What a JSON says of the data set as a whole.

    Attributes:
        classes: Category id to class.
        categories: As they stand, called like the data set's classes.
        more: Its other keys, such as `info` and `licenses`.
    """

    classes: Mapping[int, int]
    categories: tuple[dict[str, Any], ...]
    more: dict[str, Any]


def read_extras(
    file: Path, classes: Mapping[int, int], names: tuple[str, ...], wanted: Iterable[Numbered]
) -> list[Extras]:
    """Return the records of images. The file is read anew: training keeps less of it.

    Raises:
        DataError: The file has changed since it was read.
    """
    try:
        content = read_content(file)
        facts = _facts(content, classes, names)
        return [_extras(content, facts, one) for one in wanted]
    except (DataError, LookupError, TypeError) as error:
        raise DataError(f"{file}: changed while it was read. Start again.") from error


def _extras(content: dict[str, Any], facts: CocoFacts, one: Numbered) -> Extras:
    height, width = one.stated_hw
    image = {**content["images"][one.image], "width": width, "height": height}
    annotations = content.get("annotations", [])
    objects, crowds = (
        tuple(annotations[number - 1] for number in numbers)
        for numbers in (one.objects, one.crowds)
    )
    return Extras("coco", facts, image, objects, crowds)


def _facts(
    content: dict[str, Any], classes: Mapping[int, int], names: tuple[str, ...]
) -> CocoFacts:
    by_id = {item["id"]: item for item in content.get("categories", [])}  # the last one counts
    categories = tuple(
        {**item, "name": names[classes[number]]} if number in classes else item
        for number, item in by_id.items()
    )
    more = {key: value for key, value in content.items() if key not in LISTS}
    return CocoFacts(dict(classes), categories, more)
