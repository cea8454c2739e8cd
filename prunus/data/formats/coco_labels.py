"""One image's annotations in a COCO JSON -> its labels, as the classes of a data set."""

from dataclasses import dataclass
from pathlib import Path

from prunus.core.errors import suggest
from prunus.data.checks import check_boxes
from prunus.data.formats.coco_extras import Numbered
from prunus.data.formats.coco_file import Annotation, CocoFile
from prunus.data.formats.coco_lines import Find, no_lines
from prunus.data.labels import Labels
from prunus.data.problems import Problem


@dataclass(frozen=True)
class Known:
    """A JSON, and what its categories are to the data set.

    Attributes:
        file: The JSON.
        content: What it says.
        classes: Category id to class.
        count: How many classes the data set has.
    """

    file: Path
    content: CocoFile
    classes: dict[int, int]
    count: int


def numbered(known: Known, image: int, size_hw: tuple[int, int]) -> Numbered:
    """Return which annotations become rows of an image, and which are its crowds."""
    labels, stated_hw = read_labels(known, image, size_hw, no_lines)
    crowds = (item.number for item in known.content.annotations[image] if item.crowd)
    return Numbered(image, stated_hw, labels.records, tuple(crowds))


def read_labels(
    known: Known, image: int, size_hw: tuple[int, int], find: Find
) -> tuple[Labels, tuple[int, int]]:
    """Return the objects of an image but its crowds, and the size that they are shares of.

    Their records are the annotations' numbers.
    """
    file, content = known.file, known.content
    name, said_hw = content.images[image]
    stated_hw = height, width = said_hw or size_hw
    rows, places, outlines, numbers, problems = [], [], [], [], []
    if stated_hw != size_hw:
        message = (
            f"{name} has {size_hw[1]}x{size_hw[0]} pixels, not "
            f"{width}x{height} as stated: boxes are taken as shares of the stated size"
        )
        problems.append(Problem(file, find("images", image + 1), message, "image-size-differs"))
    for item in content.annotations[image]:
        line, words = find("annotations", item.number), f"annotation {item.number}: "
        if item.crowd:
            continue
        if item.category not in known.classes:
            message = f"{words}{_unknown(content, item, known.classes)}: box dropped"
            problems.append(Problem(file, line, message, "box-class"))
            continue
        left, top, across, down = item.bbox_xywh
        rows.append(
            (
                float(known.classes[item.category]),
                (left + across / 2) / width,
                (top + down / 2) / height,
                across / width,
                down / height,
            )
        )
        places.append((line, words))
        outlines.append(tuple(ring / (width, height) for ring in item.rings))
        numbers.append(item.number)
    packed = [tuple(ring.astype("float32") for ring in outline) for outline in outlines]
    checked = check_boxes(rows, places, file, known.count, packed, numbers)
    found = problems + checked.problems
    return Labels(checked.rows, found, checked.outlines, checked.records), stated_hw


def _unknown(content: CocoFile, item: Annotation, classes: dict[int, int]) -> str:
    name = content.categories.get(item.category)
    if name is None:
        return f"no category has the id {item.category}"
    known = [content.categories[number] for number in classes]
    return f"category '{name}' is not among the data set's names{suggest(name, known).rstrip('?')}"
