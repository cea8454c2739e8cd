"""Pascal VOC: `JPEGImages`, `Annotations` and `ImageSets/Main`; boxes only.

Pixel edges are written as they are read here, without the challenge's offset of one pixel; edges
that are no whole pixels keep their decimals. What comes from an XML is written as it stands: pose,
truncated, difficult, parts and all else, but for `folder`, `filename`, `path`, the size, and boxes
that were cut at the image's border.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np
from numpy.typing import NDArray

from prunus.core.files import write_text
from prunus.data.checks import EDGE_TOLERANCE
from prunus.data.convert.extras import Carried
from prunus.data.convert.images import Placed
from prunus.data.convert.pixels import edges, text
from prunus.data.formats.source import Extras
from prunus.data.formats.voc_file import OBJECT
from prunus.data.image_index import ImageIndex

EDGES = ("xmin", "ymin", "xmax", "ymax")
WRITTEN_ANEW = ("folder", "filename", "path", "size", OBJECT)
"""`path` names a place on the machine where the labels were drawn."""
MARKS = (("pose", "Unspecified"), ("truncated", "0"), ("difficult", "0"))


def image_folder(_split: str) -> str:
    return "JPEGImages"


def entry(split: str) -> str:
    return f"ImageSets/Main/{split}.txt"


def write(
    folder: Path, split: str, index: ImageIndex, images: Sequence[Placed], extras: Carried
) -> None:
    """Write an XML for each image and the list of their stems."""
    annotations = folder / "Annotations"
    annotations.mkdir(exist_ok=True)
    for number, (image, extra) in enumerate(zip(images, extras, strict=True)):
        try:
            content = _annotation(image, index, number, extra)
        except RecursionError:  # nested a thousand deep, as nobody's is who draws boxes
            content = _annotation(image, index, number, None)
        (annotations / f"{image.stem}.xml").write_text(content, encoding="utf-8")
    write_text(folder / entry(split), "".join(f"{image.stem}\n" for image in images))


def loses(index: ImageIndex, _extras: Carried) -> list[tuple[int, str]]:
    """Count the outlines."""
    outlines = sum(bool(outline) for n in range(len(index)) for outline in index.outlines_of(n))
    return [(outlines, "outlines: Pascal VOC has boxes only")]


def _annotation(image: Placed, index: ImageIndex, number: int, extra: Extras | None) -> str:
    size_hw, boxes = index.sizes_hw[number], index.boxes_of(number)
    tree = Element("annotation")
    SubElement(tree, "folder").text = image_folder("")
    SubElement(tree, "filename").text = image.name
    tree.append(_size(size_hw, extra))
    tree.extend(_carried(extra))
    if tree.find("segmented") is None:
        SubElement(tree, "segmented").text = "0"
    records = extra.objects if extra else (None,) * len(boxes)
    for box, record in zip(boxes, records, strict=True):
        item = _fresh(index.names[int(box[0])]) if record is None else record
        _place(item, edges(box, size_hw), size_hw)
        tree.append(item)
    indent(tree, "\t")
    return tostring(tree, encoding="unicode") + "\n"


def _carried(extra: Extras | None) -> Iterator[Element]:
    """Yield what an XML says of the image besides what is written anew."""
    for child in extra.image if extra else ():
        if child.tag not in WRITTEN_ANEW and child.find(f".//{OBJECT}") is None:
            yield child


def _size(size_hw: NDArray[np.int32], extra: Extras | None) -> Element:
    depth = (extra.image.findtext("size/depth") if extra else None) or "3"
    size = Element("size")
    for word, value in (("width", size_hw[1]), ("height", size_hw[0]), ("depth", depth)):
        SubElement(size, word).text = str(value)
    return size


def _fresh(name: str) -> Element:
    item = Element(OBJECT)
    SubElement(item, "name").text = name
    for word, value in MARKS:
        SubElement(item, word).text = value
    place = SubElement(item, "bndbox")
    for word in EDGES:
        SubElement(place, word)
    return item


def _place(item: Element, edges_px: Sequence[float], size_hw: NDArray[np.int32]) -> None:
    """Write the edges that an object does not have already, but for rounding."""
    height, width = size_hw
    for word, edge, side in zip(EDGES, edges_px, (width, height, width, height), strict=True):
        place = item.find(f"bndbox/{word}")
        if place is not None and not _is_near(place.text, edge, EDGE_TOLERANCE / 2 * side):
            place.text = text(edge)


def _is_near(written: str | None, edge: float, tolerance: float) -> bool:
    return written is not None and abs(float(written) - edge) <= tolerance
