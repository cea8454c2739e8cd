"""What a label file says about one image: boxes, and outlines where it has them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunus.data.problems import Problem

Rows = NDArray[np.float32]
Ring = NDArray[np.float32]
"""(k, 2) x, y as shares of the image; k is 3 or more."""
Outline = tuple[Ring, ...]
"""The rings of one object: several where it is seen in parts, none where there is only a box."""


@dataclass(frozen=True)
class Labels:
    """The objects of one image.

    Attributes:
        rows: (n, 5) float32 class, centre x, centre y, width, height, as shares of the image.
        problems: What was found.
        outlines: One for each row, or empty when no row has one.
        records: What the file itself holds of each row, where that was asked for; else empty.
    """

    rows: Rows
    problems: list[Problem] = field(default_factory=list)
    outlines: tuple[Outline, ...] = ()
    records: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Polygons:
    """The outlines of M boxes, packed: an object may have several rings, or none.

    Attributes:
        points: (P, 2) float32 x, y as shares of the image.
        rings: (R + 1,) int64; ring r is points[rings[r]:rings[r + 1]].
        boxes: (M + 1,) int64; box m has the rings boxes[m] to boxes[m + 1].
    """

    points: NDArray[np.float32]
    rings: NDArray[np.int64]
    boxes: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name, offsets, count in (
            ("rings", self.rings, len(self.points)),
            ("boxes", self.boxes, len(self.rings) - 1),
        ):
            if not len(offsets) or offsets[0] or (np.diff(offsets) < 0).any():
                raise ValueError(f"polygons: {name} must rise from 0")
            if offsets[-1] != count:
                raise ValueError(f"polygons: {name} end at {offsets[-1]} instead of {count}")
        if self.points.shape[1:] != (2,):
            raise ValueError(f"polygons: points {self.points.shape} are no x, y pairs")

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self.boxes) - 1

    def outline(self, box: int) -> Outline:
        """Return the rings of one box; none when it is only a box."""
        return tuple(
            self.points[self.rings[ring] : self.rings[ring + 1]]
            for ring in range(self.boxes[box], self.boxes[box + 1])
        )

    def outlines(self, start: int, stop: int) -> tuple[Outline, ...]:
        """Return the outlines of the boxes from `start` up to `stop`."""
        return tuple(self.outline(box) for box in range(start, stop))


def pack(labels: Sequence[Labels]) -> Polygons | None:
    """Pack the outlines of all rows in order; None when no row has one."""
    if not any(outline for item in labels for outline in item.outlines):
        return None
    outlines: list[Outline] = []
    for item in labels:
        outlines.extend(item.outlines or ((),) * len(item.rows))
    return pack_outlines(outlines)


def pack_outlines(outlines: Iterable[Outline]) -> Polygons:
    """Pack one outline a box."""
    listed = list(outlines)
    every = [ring for outline in listed for ring in outline]
    empty = np.zeros((0, 2), dtype=np.float32)
    return Polygons(
        points=np.concatenate([empty, *every]).astype(np.float32, copy=False),
        rings=np.cumsum([0, *map(len, every)], dtype=np.int64),
        boxes=np.cumsum([0, *map(len, listed)], dtype=np.int64),
    )


def extent(outline: Outline) -> tuple[float, float, float, float]:
    """Return centre x, centre y, width and height of the box around all rings."""
    points = np.concatenate(outline).astype(np.float64)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
