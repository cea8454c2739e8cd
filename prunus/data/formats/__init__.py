"""Data formats: where images and boxes are written. A format is one file and its line here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prunus.data.formats import coco, shards, voc, yolo
from prunus.data.formats.source import Source


@dataclass(frozen=True)
class Format:
    """What a data format must answer.

    Attributes:
        recognises: (root, split entry) -> whether this looks like the format.
        list_images: (root, split entry) -> images; missing ones included. Raises DataError when the
            entry is not there.
        open: (root, split entry, class names) -> the entry's images and their labels. Raises
            DataError when the entry is not there or is of no use as a whole.
    """

    recognises: Callable[[Path, str], bool]
    list_images: Callable[[Path, str], list[Path]]
    open: Callable[[Path, str, tuple[str, ...]], Source]


FORMATS: dict[str, Format] = {
    "coco": Format(coco.recognises, coco.list_images, coco.open_entry),
    "shards": Format(shards.recognises, shards.list_images, shards.open_entry),
    "voc": Format(voc.recognises, voc.list_images, voc.open_entry),
    "yolo": Format(yolo.recognises, yolo.list_images, yolo.open_entry),
}
"""Asked in this order whether they recognise a data set; `yolo` recognises any."""
