"""Pascal VOC: `JPEGImages`, `Annotations` and `ImageSets/Main`; boxes only.

Pixel edges are written as they are read here, without the challenge's offset of one pixel; edges
that are no whole pixels keep their decimals.
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np
from numpy.typing import NDArray

from prunus.core.files import write_text
from prunus.data.convert.images import Placed
from prunus.data.convert.pixels import edges, text
from prunus.data.image_index import ImageIndex

EDGES = ("xmin", "ymin", "xmax", "ymax")


def image_folder(_split: str) -> str:
    return "JPEGImages"


def entry(split: str) -> str:
    return f"ImageSets/Main/{split}.txt"


def write(folder: Path, split: str, index: ImageIndex, images: Sequence[Placed]) -> None:
    """Write an XML for each image and the list of their stems."""
    annotations = folder / "Annotations"
    annotations.mkdir(exist_ok=True)
    for number, image in enumerate(images):
        tree = _annotation(image, index.sizes_hw[number], index.boxes_of(number), index.names)
        indent(tree, "\t")
        content = tostring(tree, encoding="unicode") + "\n"
        (annotations / f"{image.stem}.xml").write_text(content, encoding="utf-8")
    write_text(folder / entry(split), "".join(f"{image.stem}\n" for image in images))


def loses(index: ImageIndex) -> list[tuple[int, str]]:
    """Count the outlines."""
    outlines = sum(bool(outline) for n in range(len(index)) for outline in index.outlines_of(n))
    return [(outlines, "outlines: Pascal VOC has boxes only")]


def _annotation(
    image: Placed,
    size_hw: NDArray[np.int32],
    boxes: NDArray[np.float32],
    names: tuple[str, ...],
) -> Element:
    tree = Element("annotation")
    SubElement(tree, "folder").text = image_folder("")
    SubElement(tree, "filename").text = image.name
    size = SubElement(tree, "size")
    for word, value in (("width", size_hw[1]), ("height", size_hw[0]), ("depth", 3)):
        SubElement(size, word).text = str(int(value))
    SubElement(tree, "segmented").text = "0"
    for box in boxes:
        item = SubElement(tree, "object")
        SubElement(item, "name").text = names[int(box[0])]
        for word, value in (("pose", "Unspecified"), ("truncated", "0"), ("difficult", "0")):
            SubElement(item, word).text = value
        place = SubElement(item, "bndbox")
        for word, edge in zip(EDGES, edges(box, size_hw), strict=True):
            SubElement(place, word).text = text(edge)
    return tree
