"""Training pictures with their long side at the image size, from the disk or from a cache.

JPEGs are decoded at 1/2, 1/4 or 1/8 when that is still large enough: two to four times as fast, and
smoother than the reference's bilinear shrinking. Validation never does so. As many pictures as a
budget holds are decoded once and kept, in memory or in a file.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from prunus.core.console import log, track
from prunus.core.errors import DataError, PrunusError
from prunus.data.augment.sample import Sample, move_outlines, to_pixels
from prunus.data.decode import Pixels, load_image
from prunus.data.index import ImageIndex
from prunus.data.letterbox import GREY, fitted_size, resize
from prunus.data.tile_file import TileFile, open_tiles


@dataclass(frozen=True)
class Cache:
    """How many decoded pictures are kept, and where.

    Attributes:
        bytes_at_most: Of the pictures that are kept; 0 for none.
        folder: Of the file with them; None for memory.
    """

    bytes_at_most: int = 1 << 30
    folder: Path | None = None


IN_MEMORY = Cache()


class Tiles:
    """Pictures of an index at one size. Calling it with an image's number gives a `Sample`.

    Attributes:
        index: The images.
        size: Long side of the pictures.
        problems: Pictures that could not be decoded and came out grey and empty, one line each;
            whoever reads them empties the list.
    """

    def __init__(self, index: ImageIndex, size: int, cache: Cache = IN_MEMORY) -> None:
        """Prepare; nothing is decoded before `keep`."""
        self.index, self.size = index, size
        self._shapes = [
            fitted_size((int(height), int(width)), size) for height, width in index.sizes_hw
        ]
        self._cache = cache
        self._kept: Sequence[Pixels] | TileFile | None = None
        self._broken: set[int] = set()
        self.problems: list[str] = []

    def __call__(self, image: int) -> Sample:
        kept = self._kept is not None and image < len(self._kept)
        picture = self._kept[image] if kept and self._kept is not None else self._read(image)
        if image in self._broken:
            return Sample(picture, np.zeros((0, 5), dtype=np.float32))
        height, width = self._shapes[image]
        boxes = to_pixels(self.index.boxes_of(image), (width, height), (0, 0))
        if self.index.polygons is None:
            return Sample(picture, boxes)
        outlines = move_outlines(self.index.outlines_of(image), (width, height), (0, 0))
        return Sample(picture, boxes, outlines)

    def keep(self, threads: int) -> None:
        """Decode and keep what the cache holds, the first time that it is called.

        Worker processes that are forked afterwards share it. A file that cannot be written is said,
        and the pictures are decoded anew each time instead.
        """
        if self._kept is not None:
            return
        ends = np.cumsum([3 * height * width for height, width in self._shapes])
        count = int(np.searchsorted(ends, self._cache.bytes_at_most, side="right"))
        self._kept = ()
        if not count:
            return
        if self._cache.folder is None:
            self._kept = list(self._decoded(count, threads))
        else:
            try:
                self._kept = self._file(self._cache.folder, count, threads)
            except PrunusError as error:
                log.warning("cache: %s Images are decoded anew each time instead.", error)
                return
        if count < len(self.index):
            log.info(
                "cache: %d of %d images fit %.3g GB (--cache-gb)",
                count,
                len(self.index),
                self._cache.bytes_at_most / 1e9,
            )

    def _file(self, folder: Path, count: int, threads: int) -> TileFile:
        kept = open_tiles(
            folder,
            self.index.paths[:count],
            self._shapes[:count],
            lambda: self._decoded(count, threads),
            bytes_at_most=self._cache.bytes_at_most,
        )
        if self._broken:  # which ones they are would not be known to the next run
            kept.path.unlink(missing_ok=True)
        return kept

    def _decoded(self, count: int, threads: int) -> Iterator[Pixels]:
        with ThreadPoolExecutor(max(threads, 1)) as pool:  # OpenCV decodes without the GIL
            blocks = (range(at, min(at + BLOCK, count)) for at in range(0, count, BLOCK))
            pictures = (picture for block in blocks for picture in pool.map(self._read, block))
            yield from track(pictures, "decoding images", count)

    def _read(self, image: int) -> Pixels:
        height, width = self._shapes[image]
        try:
            picture = load_image(self.index.paths[image], coarse_to=self.size)
        except DataError as error:
            self._broken.add(image)
            self.problems.append(f"{error} Until then it is trained on as an empty grey picture.")
            return np.full((height, width, 3), GREY, dtype=np.uint8)
        return resize(picture, (height, width), cv2.INTER_LINEAR)


BLOCK = 256
"""Pictures that may wait in memory for a slow disk."""
