"""What a split's entry turns into: its images, and where and how to read the labels of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunus.data.labels import Labels
from prunus.data.problems import Problem

Sized = tuple[Path, tuple[int, int]]
"""An image and its (height, width) in px."""


@dataclass(frozen=True)
class Extras:
    """All that a label file holds of one image, as it stands. Only conversion asks for it.

    Attributes:
        format: Key of `prunus.data.formats.FORMATS`: whose records these are.
        file: What it says of the data set as a whole; the same object for all images of one file.
        image: What it says of the image.
        objects: What it says of each row of the image's labels, in their order.
        unlearnt: Objects that are not trained on, such as crowds.
    """

    format: str
    file: Any
    image: Any
    objects: tuple[Any, ...]
    unlearnt: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Source:
    """The images of one entry of a split.

    Attributes:
        images: In the order of the entry, missing ones included.
        label_file: (image) -> the one path where its labels are looked for.
        read: (image, its (height, width) in px) -> its labels. A missing label file gives none.
            Raises DataError (one clause, no file name) when the file as a whole is unusable.
        problems: What was found about the entry as a whole.
        one_file: The one label file of all images, if there is one; else each has its own.
        extras: (some images with their sizes) -> what their label files hold, None for an image
            without one. None where a label file holds no more than boxes and outlines.
    """

    images: list[Path]
    label_file: Callable[[Path], Path]
    read: Callable[[Path, tuple[int, int]], Labels]
    problems: tuple[Problem, ...] = ()
    one_file: Path | None = None
    extras: Callable[[Sequence[Sized]], list[Extras | None]] | None = None


def per_image(
    images: list[Path],
    label_file: Callable[[Path], Path],
    read_labels: Callable[[Path, tuple[int, int], tuple[str, ...]], Labels],
    names: tuple[str, ...],
) -> Source:
    """Return a source whose images have a label file each."""
    return Source(
        images, label_file, lambda image, size: read_labels(label_file(image), size, names)
    )
