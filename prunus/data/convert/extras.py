"""What label files hold beyond boxes and outlines: kept by a target of the same format.

The index that training uses knows nothing of it, so the label files are read once more here.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from prunus.core.errors import DataError
from prunus.data.formats import FORMATS
from prunus.data.formats.source import Extras
from prunus.data.image_index import ImageIndex
from prunus.data.spec import DataSpec

Carried = Sequence[Extras | None]
"""One entry an image of an index; None where there is nothing to carry."""

VOC_MARKS = ("difficult", "truncated", "occluded")
VOC_NO_POSE = ("", "Unspecified")
ONLY_COCO = (
    "COCO JSON: ids of images, annotations and categories, info, licences, and what else its "
    "records hold"
)


def read_extras(spec: DataSpec, split: str, index: ImageIndex, target: str) -> Carried:
    """Return what a target of the same format can keep of each image.

    Args:
        spec: The data set.
        split: Its name.
        index: Of the split.
        target: Key of `TARGETS`; records of other formats are left out.

    Raises:
        DataError: A label file has changed since the index was made.
    """
    found = _all_extras(spec, split, index)
    return [one if one and one.format == target else None for one in found]


def count_unsaid(
    spec: DataSpec, split: str, index: ImageIndex, target: str
) -> list[tuple[int, str]]:
    """Return what label files say that another format has no word for, as (count, words)."""
    kinds = [spec.format_of(entry) for entry in spec.entries(split)]
    unsaid = []
    if target != "coco" and FORMATS["coco"] in kinds:
        unsaid.append((1, ONLY_COCO))
    if target != "voc" and FORMATS["voc"] in kinds:
        marks = Counter[str]()
        for one in _all_extras(spec, split, index):
            if one and one.format == "voc":
                for item in one.objects:
                    marks.update(_voc_marks(item))
        unsaid += [(n, f"objects {words}: only Pascal VOC says so") for words, n in marks.items()]
    return unsaid


def _voc_marks(item: Element) -> list[str]:
    marks = [f"marked {mark}" for mark in VOC_MARKS if (item.findtext(mark) or "").strip() == "1"]
    if (item.findtext("pose") or "").strip() not in VOC_NO_POSE:
        marks.append("with a pose")
    if item.find("part") is not None:
        marks.append("with parts")
    return marks


def _all_extras(spec: DataSpec, split: str, index: ImageIndex) -> list[Extras | None]:
    sizes = {
        path: (int(height), int(width))
        for path, (height, width) in zip(index.paths, index.sizes_hw, strict=True)
    }
    found: dict[Path, Extras | None] = {}
    for entry in spec.entries(split):
        source = spec.format_of(entry).open(spec.root, entry, spec.names)
        mine = [image for image in source.images if image in sizes and image not in found]
        extras = (
            source.extras([(image, sizes[image]) for image in mine])
            if source.extras
            else [None] * len(mine)
        )
        found.update(zip(mine, extras, strict=True))
    for number, path in enumerate(index.paths):
        one = found.get(path)
        if one is not None and len(one.objects) != len(index.boxes_of(number)):
            raise DataError(f"{path}: its labels have changed while they were read. Start again.")
    return [found.get(path) for path in index.paths]
