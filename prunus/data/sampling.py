"""Which image comes at which place of an epoch: shuffled, by need, repeated, or in rectangles.

An order is a pure function of (seed, epoch) and of what the last validation found, so that worker
processes compute it themselves and a resumed run continues in it.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from prunus.core.records import Size
from prunus.data.index import ImageIndex
from prunus.data.rectangles import shape_groups as shape_groups

ORDER = 0
"""Third word of the seed for an epoch's order; samples take 1 and up."""
Order = NDArray[np.int64]
ClassScores = tuple[float, ...]
"""mAP50-95 of each class in [0, 1], by index; empty before the first validation."""
ROUND_OFF = 1e-9
"""Of a sum of repeat factors."""


class Sampling(Protocol):
    """Chooses the images of an epoch; must pickle.

    Attributes:
        length: Images in every epoch.
        stride: 0 for square batches; else the images of a batch share the smallest canvas whose
            sides are multiples of it.
        even: Whether each image comes once, so that the partners of a mosaic are drawn evenly too;
            otherwise they are drawn from the epoch's order.
    """

    @property
    def length(self) -> int: ...
    @property
    def even(self) -> bool: ...
    @property
    def stride(self) -> int: ...
    def order(self, epoch: int, scores: ClassScores) -> Order:
        """Return (length,) image numbers."""


@dataclass(frozen=True)
class Shuffled:
    """Each image once, in a new order each epoch."""

    length: int
    seed: int
    even: bool = True
    stride: int = 0

    def order(self, epoch: int, scores: ClassScores) -> Order:  # noqa: ARG002 - the protocol's
        return _generator(self.seed, epoch).permutation(self.length)


@dataclass(frozen=True)
class ByNeed:
    """As many images as there are, drawn with replacement, rare and badly found classes more often.

    Specification sheet, section 2.4 (`--image-weights`).
    """

    index: ImageIndex
    seed: int
    even: bool = False
    stride: int = 0

    @property
    def length(self) -> int:
        return len(self.index)

    def order(self, epoch: int, scores: ClassScores) -> Order:
        weights = image_weights(self.index, scores)
        return _generator(self.seed, epoch).choice(
            self.length, self.length, p=weights / weights.sum()
        )


@dataclass(frozen=True)
class Repeated:
    """Every image, and those of rare classes several times.

    Gupta et al., "LVIS", CVPR 2019, arXiv:1908.03195, appendix B.2. A factor's fraction is the
    probability of one more. All epochs have the same length, the factors' sum.
    """

    factors: tuple[float, ...]
    seed: int
    even: bool = False
    stride: int = 0

    @property
    def length(self) -> int:
        return int(sum(self.factors) + ROUND_OFF)

    def order(self, epoch: int, scores: ClassScores) -> Order:  # noqa: ARG002 - the protocol's
        generator = _generator(self.seed, epoch)
        factors = np.array(self.factors)
        # One comb of teeth at distance 1: each fraction is hit with its own probability, and the
        # number of hits is the sum of all fractions, rounded down or up.
        ends = np.cumsum(factors % 1) + generator.random()
        extra = np.diff(np.floor(ends + ROUND_OFF), prepend=0.0)  # the comb starts below 1
        counts = np.floor(factors).astype(np.int64) + extra.astype(np.int64)
        images = np.repeat(np.arange(len(factors)), counts)
        return generator.permutation(images)[: self.length]


@dataclass(frozen=True)
class InRectangles:
    """Groups of like shape stay together; which group comes when is drawn anew each epoch.

    Attributes:
        groups: As `shape_groups` returns them.
        stride: The model's largest one, in pixels.
        seed: Of the order of the groups.
    """

    groups: tuple[tuple[int, ...], ...]
    stride: int
    seed: int
    even: bool = True

    @property
    def length(self) -> int:
        return sum(map(len, self.groups))

    def order(self, epoch: int, scores: ClassScores) -> Order:  # noqa: ARG002 - the protocol's
        *whole, last = self.groups  # the last one may be smaller, and would shift all after it
        turns = _generator(self.seed, epoch).permutation(len(whole))
        return np.array([image for turn in turns for image in whole[turn]] + list(last))


def image_weights(index: ImageIndex, scores: ClassScores) -> NDArray[np.float64]:
    """Return (N,) how much each image is wanted; all 1 where nothing is wanted more.

    A class weighs (1 - mAP)² / (its number of boxes), an image the sum over its boxes.
    """
    classes = len(index.names)
    kinds = index.boxes[:, 0].astype(np.int64)
    counts = np.bincount(kinds, minlength=classes).clip(min=1)
    missing = 1 - np.array(scores or (0.0,) * classes)
    per_class = missing**2 / counts
    image_of = np.repeat(np.arange(len(index)), np.diff(index.offsets))
    weights = np.zeros(len(index))
    np.add.at(weights, image_of, per_class[kinds])
    return weights if weights.sum() > 0 else np.ones(len(index))


def repeat_factors(index: ImageIndex, threshold: float) -> tuple[float, ...]:
    """Return how often each image comes: of its classes' max(1, sqrt(threshold / share)) the
    largest, where share is that of the images which show the class.
    """
    image_of = np.repeat(np.arange(len(index)), np.diff(index.offsets))
    kinds = index.boxes[:, 0].astype(np.int64)
    shown = np.unique(np.stack((image_of, kinds)), axis=1)
    shares = np.bincount(shown[1], minlength=len(index.names)) / max(len(index), 1)
    per_class = np.sqrt(threshold / np.where(shares > 0, shares, threshold)).clip(min=1)
    factors = np.ones(len(index))
    np.maximum.at(factors, shown[0], per_class[shown[1]])
    return tuple(factors.tolist())


def shared_canvas(sizes_hw: NDArray[np.int32], image_size: int, stride: int) -> Size:
    """Return the smallest canvas, in multiples of the stride, that images of these sizes fit on
    with their long sides at `image_size`.
    """
    sides = sizes_hw * (image_size / sizes_hw.max(axis=1, keepdims=True))
    height, width = (math.ceil(side / stride - ROUND_OFF) * stride for side in sides.max(axis=0))
    return height, width


def _generator(seed: int, epoch: int) -> np.random.Generator:
    return np.random.default_rng((seed, epoch, ORDER))
