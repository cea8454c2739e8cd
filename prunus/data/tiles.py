"""Training pictures with their long side at the image size, from the disk or from memory.

JPEGs are decoded at 1/2, 1/4 or 1/8 when that is still large enough: two to four times as fast, and
smoother than the reference's bilinear shrinking. Validation never does so. Small data sets are
decoded once and kept.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from prunus.core.console import track
from prunus.core.errors import DataError
from prunus.data.augment.sample import Sample, to_pixels
from prunus.data.decode import Pixels, load_image
from prunus.data.index import ImageIndex
from prunus.data.letterbox import GREY, fitted_size, resize


class Tiles:
    """Pictures of an index at one size. Calling it with an image's number gives a `Sample`.

    Attributes:
        problems: Pictures that could not be decoded and came out grey and empty, one line each;
            whoever reads them empties the list.
    """

    def __init__(self, index: ImageIndex, size: int) -> None:
        self._index, self._size = index, size
        self._shapes = [
            fitted_size((int(height), int(width)), size) for height, width in index.sizes_hw
        ]
        self._kept: list[Pixels] = []
        self._broken: set[int] = set()
        self.problems: list[str] = []

    def __call__(self, image: int) -> Sample:
        picture = self._kept[image] if self._kept else self._read(image)
        if image in self._broken:
            return Sample(picture, np.zeros((0, 5), dtype=np.float32))
        height, width = self._shapes[image]
        return Sample(picture, to_pixels(self._index.boxes_of(image), (width, height), (0, 0)))

    def total_bytes(self) -> int:
        """Return what `keep_all` would take."""
        return 3 * sum(height * width for height, width in self._shapes)

    def keep_all(self, threads: int) -> None:
        """Decode every picture and keep it. Worker processes forked afterwards share the memory."""
        if self._kept:
            return
        with ThreadPoolExecutor(
            max(threads, 1)
        ) as pool:  # OpenCV lets other threads run while it decodes
            pictures: Iterable[Pixels] = pool.map(self._read, range(len(self._index)))
            self._kept = list(track(pictures, "decoding images", len(self._index)))

    def _read(self, image: int) -> Pixels:
        height, width = self._shapes[image]
        try:
            picture = load_image(self._index.paths[image], coarse_to=self._size)
        except DataError as error:
            self._broken.add(image)
            self.problems.append(f"{error} Until then it is trained on as an empty grey picture.")
            return np.full((height, width, 3), GREY, dtype=np.uint8)
        return resize(picture, (height, width), cv2.INTER_LINEAR)
