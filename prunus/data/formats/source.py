"""What a split's entry turns into: its images, and where and how to read the labels of each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prunus.data.labels import Labels
from prunus.data.problems import Problem


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
    """

    images: list[Path]
    label_file: Callable[[Path], Path]
    read: Callable[[Path, tuple[int, int]], Labels]
    problems: tuple[Problem, ...] = ()
    one_file: Path | None = None


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
