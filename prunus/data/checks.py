"""Rules that every box keeps, whatever file it came from. A bad box goes alone; its image stays."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunus.core.errors import DataError
from prunus.data.problems import Problem

EDGE_TOLERANCE = 1e-3
"""How far, as a share of the image, a box may stick out as rounding; 0.6 px in a 640 px image."""
MAX_LABEL_BYTES = 64 << 20
"""No honest label file is larger: a million boxes take 40 MB."""

Rows = NDArray[np.float32]


def check_boxes(
    rows: Sequence[Sequence[float]],
    places: Sequence[tuple[int | None, str]],
    file: Path,
    classes: int,
) -> tuple[Rows, list[Problem]]:
    """Keep the boxes that can be learnt from.

    Args:
        rows: n times class, centre x, centre y, width, height, as shares of the image.
        places: For each row its line number and words that lead the message, such as "object 3: ".
        file: The label file, for the messages.
        classes: How many classes the data set has.

    Returns:
        The rows kept, (m, 5) float32 in their order, and what was found. Boxes that stick out of
        the image by more than `EDGE_TOLERANCE` are cut at its border and reported; all others are
        exactly as given.
    """
    kept: list[tuple[float, ...]] = []
    problems: list[Problem] = []
    seen: set[tuple[float, ...]] = set()
    for row, (line, words) in zip(rows, places, strict=True):
        key = tuple(row)
        fault = "the same box again" if key in seen else _fault(key, classes)
        seen.add(key)
        clipped = key if fault else _clip(key)
        if fault:
            problems.append(Problem(file, line, f"{words}{fault}: box dropped"))
            continue
        if clipped != key:
            problems.append(
                Problem(file, line, f"{words}the box sticks out of the image: cut at its border")
            )
        kept.append(clipped)
    return np.array(kept, dtype=np.float32).reshape(-1, 5), problems


def _fault(row: tuple[float, ...], classes: int) -> str:
    """Say why a box is of no use, or "" when it is."""
    kind, x, y, width, height = row
    if not all(math.isfinite(value) for value in row):
        return f"{_numbers(row)} is not finite"
    if kind != int(kind):
        return f"class {kind:g} is not a whole number"
    if not 0 <= kind < classes:
        span = "class (0)" if classes == 1 else f"classes (0-{classes - 1})"
        return f"class {int(kind)}, but the data set has {classes} {span}"
    if width <= 0 or height <= 0:
        return f"width {width:g} and height {height:g} leave no area"
    left, top, right, bottom = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if right <= 0 or bottom <= 0 or left >= 1 or top >= 1:
        hint = (
            "; coordinates are shares of the image, 0 to 1, not pixels" if max(row[1:]) > 2 else ""
        )
        return f"box {_numbers(row[1:])} lies outside the image{hint}"
    return ""


def _clip(row: tuple[float, ...]) -> tuple[float, ...]:
    kind, x, y, width, height = row
    edges = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    if all(-EDGE_TOLERANCE <= edge <= 1 + EDGE_TOLERANCE for edge in edges):
        return row
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in edges)
    return kind, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def label_bytes(file: Path) -> bytes | None:
    """Return the content of a label file, or None when there is none.

    Raises:
        DataError: It is no regular file (a folder, a pipe), too large, or cannot be read.
    """
    try:
        if not file.exists():
            return None
        if not file.is_file():
            raise DataError("no regular file")
        size = file.stat().st_size
        if size > MAX_LABEL_BYTES:
            raise DataError(
                f"{size / 1e6:.0f} MB, more than the {MAX_LABEL_BYTES >> 20} MB that are read"
            )
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}") from error
