"""The record of a split: which images, how large, and what is in them, packed into arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunus.data.labels import Outline, Polygons, pack_outlines
from prunus.data.problems import Problem


@dataclass(frozen=True)
class ImageIndex:
    """The images of one split.

    Attributes:
        names: Class names, by index.
        paths: N image files, sorted.
        sizes_hw: (N, 2) int32 pixels, after EXIF rotation.
        boxes: (M, 5) float32 class, centre x, centre y, width, height, the last four as shares of
            the image.
        offsets: (N + 1,) int64; the boxes of image i are boxes[offsets[i]:offsets[i + 1]].
        problems: What was found on the way, in reading order.
        polygons: The outlines of the M boxes, or None when there are boxes only.
    """

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    sizes_hw: NDArray[np.int32]
    boxes: NDArray[np.float32]
    offsets: NDArray[np.int64]
    problems: tuple[Problem, ...] = ()
    polygons: Polygons | None = None

    def __post_init__(self) -> None:
        count = len(self.paths)
        if self.sizes_hw.shape != (count, 2) or self.offsets.shape != (count + 1,):
            raise ValueError(
                f"{count} paths do not match {self.sizes_hw.shape} and {self.offsets.shape}"
            )
        if self.boxes.shape != (int(self.offsets[-1]), 5):
            raise ValueError(
                f"boxes {self.boxes.shape} do not match offsets ending in {self.offsets[-1]}"
            )

        if self.polygons is not None and len(self.polygons) != len(self.boxes):
            raise ValueError(f"outlines of {len(self.polygons)} boxes, but {len(self.boxes)} boxes")

    def __len__(self) -> int:
        return len(self.paths)

    def boxes_of(self, image: int) -> NDArray[np.float32]:
        """Return the (n, 5) boxes of one image."""
        return self.boxes[self.offsets[image] : self.offsets[image + 1]]

    def outlines_of(self, image: int) -> tuple[Outline, ...]:
        """Return for each box of an image its rings, (k, 2) x, y as shares; () for a mere box."""
        start, stop = int(self.offsets[image]), int(self.offsets[image + 1])
        if self.polygons is None:
            return ((),) * (stop - start)
        return self.polygons.outlines(start, stop)

    def subset(self, images: Sequence[int]) -> "ImageIndex":
        """Return the index of some images, in the order given. The problems stay."""
        boxes = [self.boxes_of(image) for image in images]
        polygons = None
        if self.polygons is not None:
            outlines = (outline for image in images for outline in self.outlines_of(image))
            polygons = pack_outlines(outlines)
        return replace(
            self,
            paths=tuple(self.paths[image] for image in images),
            sizes_hw=self.sizes_hw[list(images)].reshape(-1, 2),
            boxes=np.concatenate([np.zeros((0, 5), dtype=np.float32), *boxes]),
            offsets=np.cumsum([0, *map(len, boxes)], dtype=np.int64),
            polygons=polygons,
        )

    def summary(self) -> str:
        """Return one line: images, boxes, problems."""
        background = int((np.diff(self.offsets) == 0).sum())
        used = len(np.unique(self.boxes[:, 0]))
        return (
            f"{len(self)} images ({background} without objects), {len(self.boxes)} boxes in {used} "
            f"of {len(self.names)} classes, {len(self.problems)} problems"
        )
