"""Training images for quantization: some to measure ranges on, others to judge a search by.

Validation images have the last word only. Ranges or layers that were fitted to them would make the
figures at the end too good.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

DIVIDE_BY = np.float32(255)


def split_positions(images: int, calibration: int, judging: int) -> tuple[list[int], list[int]]:
    """Share images out, both parts spread over all of them.

    Args:
        images: How many there are.
        calibration: Wanted to calibrate on.
        judging: Wanted to judge by. Where there are too few, both parts shrink alike.

    Returns:
        Two lists of positions, in order, that share none; the first is empty only if there are no
        images.
    """
    total = min(images, calibration + judging)
    spread = np.linspace(0, max(images - 1, 0), total).round().astype(int)
    first = min(total, max(1, round(total * calibration / (calibration + judging))))
    chosen = np.zeros(total, dtype=bool)
    chosen[(np.arange(first) * total) // max(first, 1)] = True
    return spread[chosen].tolist(), spread[~chosen].tolist()


class CalibrationImages:
    """Images as a graph takes them; they can be gone through again and again.

    Held as bytes: 128 images of 640 pixels take 157 MB.
    """

    def __init__(self, images: Tensor, batch: int) -> None:
        """Hold (N, 3, H, W) uint8 images, to be given `batch` at a time."""
        self._images: NDArray[np.uint8] = images.numpy()
        self._batch = batch

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-len(self._images) // self._batch)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Yield (B, 3, H, W) in [0, 1]; the last batch is filled up from the start."""
        for start in range(0, len(self._images), self._batch):
            places = np.arange(start, start + self._batch) % len(self._images)
            yield self._images[places].astype(np.float32) / DIVIDE_BY
