"""`Histogram`: the values of one tensor, in memory that does not grow with the images.

The range doubles as larger values come, and bins join in pairs: one pass is enough, and nobody has
to know the range beforehand. ONNX Runtime's own collectors keep every map of every image.
"""

import numpy as np
from numpy.typing import NDArray

BINS = 8192
"""Over [-reach, reach]: values on one side only, just past a doubling, still fill 2048 bins."""
LEAST_REACH = 2.0**-100
"""Smaller values all lie in the middle bins: the bins per unit must be a float32."""
SAMPLED = 1 << 16
"""Values of a tensor that are counted per image; least and largest are taken from all."""


class Histogram:
    """Counts of values in equal bins, with the exact least and largest value.

    Attributes:
        low: Least value seen; infinity before the first.
        high: Largest value seen.
        reach: The bins cover [-reach, reach]; a power of two.
        counts: (BINS,) float64.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        self.low, self.high = float("inf"), float("-inf")
        self.reach = 0.0
        self.counts: NDArray[np.float64] = np.zeros(BINS)

    def add(self, values: NDArray[np.float32]) -> None:
        """Take in finite values, in an array of any shape."""
        flat = values.reshape(-1)
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._reach_out_to(max(-low, high))
        if self.reach:
            step = -(-flat.size // SAMPLED)
            self._count(flat[:: step | 1])  # odd: an even step would skip whole columns

    @property
    def edges(self) -> NDArray[np.float64]:
        """Return (BINS + 1,) the bins' borders."""
        edges: NDArray[np.float64] = np.linspace(-self.reach, self.reach, BINS + 1)
        return edges

    @property
    def centres(self) -> NDArray[np.float64]:
        """Return (BINS,) the middle of each bin, within what was really seen."""
        edges = self.edges.clip(self.low, self.high)
        centres: NDArray[np.float64] = (edges[:-1] + edges[1:]) / 2
        return centres

    def _count(self, values: NDArray[np.float32]) -> None:
        scaled = (values + np.float32(self.reach)) * np.float32(BINS / 2 / self.reach)
        places = scaled.astype(np.int32).clip(0, BINS - 1)
        self.counts += np.bincount(places, minlength=BINS)

    def _reach_out_to(self, largest: float) -> None:
        if largest <= self.reach or largest == 0:
            return
        if not self.reach:
            self.reach = max(float(2.0 ** np.ceil(np.log2(largest))), LEAST_REACH)
            return
        while self.reach < largest:
            joined = self.counts.reshape(-1, 2).sum(axis=1)
            quarter = BINS // 4
            self.counts = np.pad(joined, (quarter, quarter))
            self.reach *= 2
