"""Data formats: where images and boxes are written. A format is one file and its line here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prunus.data.checks import Rows
from prunus.data.formats import voc, yolo
from prunus.data.problems import Problem


@dataclass(frozen=True)
class Format:
    """What a data format must answer.

    Attributes:
        recognises: (root, split entry) -> whether this looks like the format.
        list_images: (root, split entry) -> images; missing ones included. Raises DataError when the
            entry is not there.
        label_file: (image) -> the one path where its labels are looked for.
        read_labels: (label file, (height, width) of the image in px, class names) -> (n, 5) float32
            rows of class, centre x, centre y, width, height as shares of the image, and the
            problems found. A missing file gives no rows. Raises DataError (one clause, no file
            name) when the file as a whole is unusable.
    """

    recognises: Callable[[Path, str], bool]
    list_images: Callable[[Path, str], list[Path]]
    label_file: Callable[[Path], Path]
    read_labels: Callable[[Path, tuple[int, int], tuple[str, ...]], tuple[Rows, list[Problem]]]


FORMATS: dict[str, Format] = {
    "voc": Format(voc.recognises, voc.list_images, voc.label_file, voc.read_labels),
    "yolo": Format(yolo.recognises, yolo.list_images, yolo.label_file, yolo.read_labels),
}
"""Asked in this order whether they recognise a data set; `yolo` recognises any."""
