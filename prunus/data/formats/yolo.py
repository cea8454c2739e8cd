"""YOLO text labels, one line a box: `class x y width height`, or a polygon `class x1 y1 x2 y2 …`.

Numbers are shares of the image. `images/train/a.jpg` has its labels in `labels/train/a.txt`: the
last folder called `images` becomes `labels`; where there is no such folder the label file lies
beside the image. An image without a label file, or with an empty one, is background.
"""

from pathlib import Path

from prunus.core.errors import DataError
from prunus.data.checks import Rows, check_boxes, label_bytes
from prunus.data.paths import images_in, images_listed, swap_folder
from prunus.data.problems import Problem

BOX_COLUMNS = 5
FEWEST_POLYGON_COLUMNS = 7


def recognises(_root: Path, _entry: str) -> bool:
    """Say yes to anything: YOLO is what a data set is when it is nothing else."""
    return True


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


def read_labels(
    label_file: Path, _size_hw: tuple[int, int], names: tuple[str, ...]
) -> tuple[Rows, list[Problem]]:
    """Return (n, 5) float32 class, centre x, centre y, width, height as shares, and what was found.

    Raises:
        DataError: The file is there but is no text or cannot be read.
    """
    content = label_bytes(label_file) or b""
    try:
        text = content.decode(
            "utf-8-sig"
        )  # tolerates the byte-order mark that Windows editors write
    except UnicodeDecodeError as error:
        raise DataError("not a text file") from error
    rows: list[tuple[float, ...]] = []
    lines: list[tuple[int | None, str]] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            rows.append(_parse(words))
            lines.append((number, ""))
        except ValueError as error:
            problems.append(Problem(label_file, number, f"{error}: box dropped"))
    boxes, found = check_boxes(rows, lines, label_file, len(names))
    return boxes, sorted(problems + found, key=lambda problem: problem.line or 0)


def _parse(words: list[str]) -> tuple[float, ...]:
    count = len(words)
    is_polygon = count >= FEWEST_POLYGON_COLUMNS and count % 2 == 1
    if count != BOX_COLUMNS and not is_polygon:
        raise ValueError(
            f"{count} columns, but a box has 5 (class x y width height) and a polygon 7, 9, 11 …"
        )
    try:
        row = tuple(float(word) for word in words)
    except ValueError as error:
        raise ValueError("not all columns are numbers") from error
    return _surround(row) if is_polygon else row


def _surround(row: tuple[float, ...]) -> tuple[float, ...]:
    """Turn a polygon into the box around it."""
    across, down = row[1::2], row[2::2]
    left, right, top, bottom = min(across), max(across), min(down), max(down)
    return row[0], (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
