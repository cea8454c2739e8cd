"""The open table of ways to choose a range: which values get the 256 steps of a tensor.

Values outside are clipped. A wide range clips few and rounds all of them coarsely; a narrow one
does the opposite. A way is a function here and its line in METHODS.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from prunus.export.quantize.histogram import Histogram

LEVELS = 256
Range = tuple[float, float]
"""Least and largest value that is not clipped; 0 lies within or at an end."""
Values = NDArray[np.float64]

PERCENTILE = 99.99
"""Share of the values that are kept, in per cent. On yolov5n 99.9 and 99.999 did worse."""
ENTROPY_WIDTHS = 64
"""Candidate widths: the scheme tries every one; a detector's optimum is flat."""
ENDS = 40
"""Candidates for each end of a range: 1/40 to 40/40 of the way to the outermost value."""
SMALLEST = LEVELS * float(np.finfo(np.float32).tiny)
"""A smaller range has no step that float32 holds in full."""
SWEEPS = 2
"""The best low end depends on the high one and the other way round; a third sweep moves nothing."""


def minmax(histogram: Histogram) -> Range:
    """Clip nothing."""
    return _with_zero(histogram.low, histogram.high)


def percentile(histogram: Histogram, share: float = PERCENTILE) -> Range:
    """Clip the outermost values, half of them at either end."""
    total = histogram.counts.sum()
    if not total:
        return _with_zero(histogram.low, histogram.high)
    below, edges = histogram.counts.cumsum() / total, histogram.edges
    tail = (1 - share / 100) / 2
    low = edges[np.searchsorted(below, tail, side="right")]
    high = edges[min(int(np.searchsorted(below, 1 - tail)), len(below) - 1) + 1]
    return _with_zero(max(histogram.low, float(low)), min(histogram.high, float(high)))


def entropy(histogram: Histogram) -> Range:
    """Lose the least information: least Kullback-Leibler divergence from the float values.

    Szymon Migacz, "8-bit inference with TensorRT", GTC 2017. Both ends come in together.
    """
    filled = np.flatnonzero(histogram.counts)
    if len(filled) < 2:
        return _with_zero(histogram.low, histogram.high)
    start, stop = int(filled[0]), int(filled[-1]) + 1
    middle = min(max(len(histogram.counts) // 2, start), stop)  # the bin where zero lies
    widths = [
        (
            round(middle - (middle - start) * part / ENTROPY_WIDTHS),
            round(middle + (stop - middle) * part / ENTROPY_WIDTHS),
        )
        for part in range(1, ENTROPY_WIDTHS + 1)
    ]
    widths = [(left, right) for left, right in widths if right - left > 1]
    left, right = min(widths, key=lambda width: _divergence(histogram.counts, *width))
    low, high = float(histogram.edges[left]), float(histogram.edges[right])
    return _with_zero(max(histogram.low, low), min(histogram.high, high))


def mse(histogram: Histogram) -> Range:
    """Err the least: the smallest mean squared error of clipping and rounding together."""
    used = histogram.counts > 0
    values, weights = histogram.centres[used], histogram.counts[used]
    low, high = _with_zero(histogram.low, histogram.high)

    def cost(limits: Range) -> float:
        return float((weights * (rounded(values, limits) - values) ** 2).sum())

    for _ in range(SWEEPS):
        high = min(_nearer(high), key=lambda end: cost((low, end)))
        low = min(_nearer(low), key=lambda end: cost((end, high)))
    return low, high


def rounded(values: Values, limits: Range) -> Values:
    """Return the values after a trip to 8 bits and back."""
    scale, zero = scale_and_zero(limits)
    steps = ((values / scale).round() + zero).clip(0, LEVELS - 1)
    return (steps - zero) * scale


def scale_and_zero(limits: Range) -> tuple[float, int]:
    """Return the step, a float32, and the unsigned 8-bit number that stands for 0.

    0 is always exact, since padding puts zeros in: a range without it is stretched. Values of next
    to nothing all become 0.
    """
    low, high = _with_zero(*limits)
    if high - low < SMALLEST:
        return 1.0, 0
    scale = float(np.float32((high - low) / (LEVELS - 1)))
    return scale, int(np.clip(round(-low / scale), 0, LEVELS - 1))


def _with_zero(low: float, high: float) -> Range:
    """Return the range stretched to 0; of nothing, that of 0 alone."""
    return (min(low, 0.0), max(high, 0.0)) if low <= high else (0.0, 0.0)


def _nearer(end: float) -> list[float]:
    return [end * part / ENDS for part in range(ENDS, 0, -1)]


def _divergence(counts: Values, left: int, right: int) -> float:
    """Return how much the values of [left, right), in LEVELS steps, tell less than all in float."""
    inside = counts[left:right]
    wanted = inside.copy()
    wanted[0] += counts[:left].sum()
    wanted[-1] += counts[right:].sum()
    step_of = np.arange(len(inside)) * LEVELS // len(inside)
    sums = np.bincount(step_of, inside, LEVELS)
    filled = np.bincount(step_of, inside > 0, LEVELS)
    spread = np.where(inside > 0, (sums / filled.clip(1))[step_of], 0)  # as rounding leaves them
    seen = wanted > 0
    missing = 1e-9  # a step that lost all its values: infinitely bad, were it not for this
    given = (spread[seen] / max(spread.sum(), missing)).clip(missing)
    shares = wanted[seen] / wanted.sum()
    return float((shares * np.log(shares / given)).sum())


Method = Callable[[Histogram], Range]
METHODS: dict[str, Method] = {
    "minmax": minmax,
    "percentile": partial(percentile, share=PERCENTILE),
    "entropy": entropy,
    "mse": mse,
}
