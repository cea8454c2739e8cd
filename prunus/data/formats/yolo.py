"""YOLO text labels, one line a box: `class x y width height`, or a polygon `class x1 y1 x2 y2 …`.

Numbers are shares of the image. `images/train/a.jpg` has its labels in `labels/train/a.txt`: the
last folder called `images` becomes `labels`; where there is no such folder the label file lies
beside the image. An image without a label file, or with an empty one, is background.

Each line is read for itself: 5 columns are a box, 7 or more (an odd number) a polygon, whatever the
lines around it are. The box of a polygon is its extent. The reference reads a whole file as
polygons as soon as one line is one, and makes nonsense of its boxes; so in a file with both forms
every line of 5 columns is named (spec 2.8).
"""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from prunus.data.checks import check_boxes, label_bytes
from prunus.data.formats.source import Source, per_image
from prunus.data.labels import Labels, Outline
from prunus.data.paths import images_in, images_listed, swap_folder
from prunus.data.problems import Problem, RuleError

BOX_COLUMNS = 5
FEWEST_POLYGON_COLUMNS = 7


def recognises(_root: Path, _entry: str) -> bool:
    """Say yes to anything: YOLO is what a data set is when it is nothing else."""
    return True


def open_entry(root: Path, entry: str, names: tuple[str, ...]) -> Source:
    """Return the images of a folder or list, each with its own text file."""
    return per_image(list_images(root, entry), label_file, read_labels, names)


def list_images(root: Path, entry: str) -> list[Path]:
    """Return the images of a folder (at any depth) or of a .txt list.

    Raises:
        DataError: There is no such folder or list.
    """
    place = root / entry
    return images_in(place) if place.is_dir() else images_listed(root, place)


def label_file(image: Path) -> Path:
    """Return where the labels of an image are looked for."""
    return swap_folder(image, "images", "labels").with_suffix(".txt")


@dataclass
class _Lines:
    """The lines of a file that are boxes or polygons, in order."""

    rows: list[tuple[float, ...]] = field(default_factory=list)
    places: list[tuple[int | None, str]] = field(default_factory=list)
    outlines: list[Outline] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_labels(label_file: Path, _size_hw: tuple[int, int], names: tuple[str, ...]) -> Labels:
    """Return the objects of a label file, and what was found.

    Raises:
        RuleError: The file is there but is no text or cannot be read.
    """
    content = label_bytes(label_file) or b""
    try:
        text = content.decode(
            "utf-8-sig"
        )  # tolerates the byte-order mark that Windows editors write
    except UnicodeDecodeError as error:
        raise RuleError("label-unreadable", "not a text file") from error
    lines = _Lines()
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            row, outline = _parse(words)
        except RuleError as fault:
            message = f"{fault}: box dropped"
            lines.problems.append(Problem(label_file, number, message, fault.rule))
            continue
        lines.rows.append(row)
        lines.places.append((number, ""))
        lines.outlines.append(outline)
    checked = check_boxes(lines.rows, lines.places, label_file, len(names), lines.outlines)
    problems = lines.problems + checked.problems + _mixed(label_file, lines)
    return replace(checked, problems=sorted(problems, key=lambda problem: problem.line or 0))


def _mixed(label_file: Path, lines: _Lines) -> list[Problem]:
    """Name every line of 5 columns in a file that has polygons too."""
    if not any(lines.outlines):
        return []
    message = "5 columns in a file with polygons: read as a box"
    return [
        Problem(label_file, line, message, "label-mixed")
        for (line, _), outline in zip(lines.places, lines.outlines, strict=True)
        if not outline
    ]


def _parse(words: list[str]) -> tuple[tuple[float, ...], Outline]:
    """Return class and box of a line, and its outline when it is a polygon."""
    count = len(words)
    is_polygon = count >= FEWEST_POLYGON_COLUMNS and count % 2 == 1
    if count != BOX_COLUMNS and not is_polygon:
        raise RuleError(
            "box-columns",
            f"{count} columns, but a box has 5 (class x y width height) and a polygon 7, 9, 11 …",
        )
    try:
        row = tuple(float(word) for word in words)
    except ValueError as error:
        raise RuleError("box-number", "not all columns are numbers") from error
    if not is_polygon:
        return row, ()
    if not all(map(math.isfinite, row)):
        raise RuleError("box-not-finite", "the polygon is not finite")
    ring = np.array(row[1:], dtype=np.float32).reshape(-1, 2)
    return _surround(row), (ring,)


def _surround(row: tuple[float, ...]) -> tuple[float, ...]:
    """Turn a polygon into the box around it."""
    across, down = row[1::2], row[2::2]
    left, right, top, bottom = min(across), max(across), min(down), max(down)
    return row[0], (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
