"""Rules that every box keeps, whatever file it came from. A bad box goes alone; its image stays."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from prunus.data.files import byte_count, exists, is_regular, read_bytes
from prunus.data.labels import Labels, Outline
from prunus.data.problems import Problem, RuleError

EDGE_TOLERANCE = 1e-3
"""How far, as a share of the image, a box may stick out as rounding; 0.6 px in a 640 px image."""
MAX_LABEL_BYTES = 64 << 20
"""No honest label file is larger: a million boxes take 40 MB."""


def check_boxes(
    rows: Sequence[Sequence[float]],
    places: Sequence[tuple[int | None, str]],
    file: Path,
    classes: int,
    outlines: Sequence[Outline] = (),
    records: Sequence[object] = (),
) -> Labels:
    """Keep the boxes that can be learnt from.

    Args:
        rows: n times class, centre x, centre y, width, height, as shares of the image.
        places: For each row its line number and words that lead the message, such as "object 3: ".
        file: The label file, for the messages.
        classes: How many classes the data set has.
        outlines: One for each row, empty where there is only a box; or none at all.
        records: What the file itself holds of each row, or none at all; carried along.

    Returns:
        The rows kept, in their order, with their outlines and records, and what was found. Boxes
        that stick out of the image by more than `EDGE_TOLERANCE` are cut at its border and
        reported; all others and all outlines are exactly as given.
    """
    kept: list[tuple[float, ...]] = []
    drawn: list[Outline] = []
    carried: list[object] = []
    problems: list[Problem] = []
    seen: set[object] = set()
    for number, (row, (line, words)) in enumerate(zip(rows, places, strict=True)):
        key = tuple(row)
        outline = outlines[number] if outlines else ()
        whole = (key, *(ring.tobytes() for ring in outline))
        rule, fault = _fault(key, classes)
        if not fault and whole in seen:
            rule, fault = "box-twice", "the same box again"
        seen.add(whole)
        if fault:
            problems.append(Problem(file, line, f"{words}{fault}: box dropped", rule))
            continue
        clipped = _clip(key)
        if clipped != key:
            message = f"{words}the box sticks out of the image: cut at its border"
            problems.append(Problem(file, line, message, "box-sticks-out"))
        kept.append(clipped)
        drawn.append(outline)
        carried += records[number : number + 1]
    packed = np.array(kept, dtype=np.float32).reshape(-1, 5)
    return Labels(packed, problems, tuple(drawn) if any(drawn) else (), tuple(carried))


def _fault(row: tuple[float, ...], classes: int) -> tuple[str, str]:
    """Return the rule that a box breaks and say how; empty words when it breaks none."""
    kind, x, y, width, height = row
    if not all(math.isfinite(value) for value in row):
        return "box-not-finite", f"{_numbers(row)} is not finite"
    if kind != int(kind):
        return "box-class", f"class {kind:g} is not a whole number"
    if not 0 <= kind < classes:
        span = "class (0)" if classes == 1 else f"classes (0-{classes - 1})"
        return "box-class", f"class {int(kind)}, but the data set has {classes} {span}"
    if width <= 0 or height <= 0:
        return "box-no-area", f"width {width:g} and height {height:g} leave no area"
    left, top, right, bottom = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if right <= 0 or bottom <= 0 or left >= 1 or top >= 1:
        hint = (
            "; coordinates are shares of the image, 0 to 1, not pixels" if max(row[1:]) > 2 else ""
        )
        return "box-outside", f"box {_numbers(row[1:])} lies outside the image{hint}"
    return "", ""


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
        RuleError: It is no regular file (a folder, a pipe), too large, or cannot be read.
    """
    rule = "label-unreadable"
    try:
        if not exists(file):
            return None
        if not is_regular(file):
            raise RuleError(rule, "no regular file")
        size = byte_count(file)
        if size > MAX_LABEL_BYTES:
            most = MAX_LABEL_BYTES >> 20
            raise RuleError(rule, f"{size / 1e6:.0f} MB, more than the {most} MB that are read")
        return read_bytes(file)
    except OSError as error:
        raise RuleError(rule, f"cannot be read: {error.strerror or error}") from error
