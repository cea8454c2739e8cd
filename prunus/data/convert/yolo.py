"""YOLO labels: polygon rows, or boxes of five columns; digits that give the same floats again."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunus.data.convert.extras import Carried
from prunus.data.convert.images import Placed
from prunus.data.image_index import ImageIndex
from prunus.data.labels import Outline, Ring, extent

SAME_BOX = 1e-3
"""As a share of the image; `prunus.data.checks.EDGE_TOLERANCE` for the same reason."""


def image_folder(split: str) -> str:
    return f"images/{split}"


def entry(split: str) -> str:
    return image_folder(split)


def write(
    folder: Path, split: str, index: ImageIndex, images: Sequence[Placed], _extras: Carried
) -> None:
    """Write a text file for each image, empty ones for background."""
    labels = folder / "labels" / split
    labels.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        outlines = index.outlines_of(number)
        lines = [
            _line(box, outline)
            for box, outline in zip(index.boxes_of(number), outlines, strict=True)
        ]
        (labels / f"{image.stem}.txt").write_text("".join(lines), encoding="utf-8")


def loses(index: ImageIndex, _extras: Carried) -> list[tuple[int, str]]:
    """Count what a polygon row cannot say: several parts, and a box other than its extent."""
    outlines = [outline for n in range(len(index)) for outline in index.outlines_of(n)]
    parts = sum(len(outline) > 1 for outline in outlines)
    others = sum(
        not _is_extent(box, outline)
        for box, outline in zip(index.boxes, outlines, strict=True)
        if outline
    )
    return [
        (parts, "outlines in several parts: written as one, joined by bridges without width"),
        (others, "boxes that are not the extent of their outline: the outline is written"),
    ]


def _line(box: NDArray[np.float32], outline: Outline) -> str:
    numbers = joined(outline).reshape(-1) if outline else box[1:]
    words = (np.format_float_positional(np.float32(value), trim="-") for value in numbers)
    return f"{int(box[0])} {' '.join(words)}\n"


def joined(outline: Outline) -> Ring:
    """Return one ring that goes round every part and back to the first point in between."""
    if len(outline) == 1:
        return outline[0]
    home = outline[0][:1]
    pieces = [outline[0], home]
    for ring in outline[1:]:
        pieces += [ring, ring[:1], home]
    return np.concatenate(pieces[:-1])  # the ring closes by itself


def _is_extent(box: NDArray[np.float32], outline: Outline) -> bool:
    x, y, across, down = extent(outline)
    around = np.array([x - across / 2, y - down / 2, x + across / 2, y + down / 2]).clip(0, 1)
    half = box[3:5] / 2
    given = np.concatenate([box[1:3] - half, box[1:3] + half])
    return bool(np.abs(around - given).max() <= SAME_BOX)
