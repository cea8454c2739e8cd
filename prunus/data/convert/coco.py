"""COCO JSON: `annotations/<split>.json`, one record a line.

What comes from a COCO JSON is written as it stands: ids, masks, crowds and all else, but for boxes
that were cut at the image's border. Otherwise categories are numbered from 1 in the classes' order.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from prunus.core.files import write_text
from prunus.data.convert.coco_ids import Numbering
from prunus.data.convert.coco_records import annotations, encoded, images, kept_crowds
from prunus.data.convert.extras import Carried
from prunus.data.convert.images import Placed
from prunus.data.image_index import ImageIndex


def image_folder(split: str) -> str:
    return f"images/{split}"


def entry(split: str) -> str:
    return f"annotations/{split}.json"


def write(
    folder: Path, split: str, index: ImageIndex, places: Sequence[Placed], extras: Carried
) -> None:
    """Write one JSON with every image, background included."""
    numbering = Numbering(extras)
    more = numbering.facts.more if numbering.facts else {}
    categories = (
        encoded(item, {"id": item["id"], "name": item["name"]})
        for item in numbering.categories(index.names)
    )
    parts = [f"{encoded(key)}: {encoded(value)}" for key, value in more.items()]
    parts += [
        _list("images", images(index, places, numbering, extras)),
        _list("annotations", annotations(index, numbering, extras)),
        _list("categories", categories),
    ]
    write_text(folder / entry(split), "{\n" + ",\n".join(parts) + "\n}\n")


def loses(_index: ImageIndex, extras: Carried) -> list[tuple[int, str]]:
    """Count what COCO JSONs lose in becoming one with others, and crowds of no use."""
    numbering = Numbering(extras)
    there = [one for one in extras if one]
    crowds = sum(len(one.unlearnt) - len(kept_crowds(one, numbering)) for one in there)
    return [
        (0 if numbering.facts else len(there), "images: ids are counted anew in a joined JSON"),
        (crowds, "crowds: of categories that are no classes, or with values that JSON lacks"),
    ]


def _list(name: str, lines: Iterator[str]) -> str:
    return f'"{name}": [\n' + ",\n".join(lines) + "\n]"
