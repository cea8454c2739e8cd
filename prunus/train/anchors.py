"""Do the anchors fit the boxes, and which would?

An anchor can only take boxes whose sides lie within a factor of its own, so a box that no anchor
takes is never learnt. The best possible recall is the share of boxes that some anchor takes.
Specification sheet, section 2.10.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from prunus.core.console import log
from prunus.data.index import ImageIndex
from prunus.model.detector import Detector

Sizes = NDArray[np.float64]
"""(N, 2) widths and heights in pixels."""

RECALL_ENOUGH = 0.98
SMALLEST_SIDE_PX = 2.0
JITTER = 0.1
"""Boxes are scaled by 1 +- this, so that anchors are not fitted to one exact size."""
BOXES_AT_MOST = 20_000
"""A sample of these is enough to fit anchors to."""
MEANS_ROUNDS = 30
GENERATIONS = 1000
MUTATED_SHARE, MUTATION_SPREAD, MUTATION_LIMITS = 0.9, 0.1, (0.3, 3.0)


def fit_anchors_(detector: Detector, index: ImageIndex, image_size: int, threshold: float) -> float:
    """Replace the detector's anchors when they miss more than 2 % of the boxes and better ones are
    found.

    Args:
        detector: Its anchors are changed in place.
        index: The training images.
        image_size: Long side of the images in training, in pixels.
        threshold: An anchor takes boxes whose sides differ by less than this factor.

    Returns:
        The best possible recall, in [0, 1]. It stands in the log as well.
    """
    generator = np.random.default_rng(0)
    sizes = box_sizes(index, image_size)
    if not len(sizes):
        return 0.0
    sizes = sizes * generator.uniform(1 - JITTER, 1 + JITTER, (len(sizes), 1))
    anchors = detector.anchors_px.reshape(-1, 2).double().cpu().numpy()
    recall = best_possible_recall(anchors, sizes, threshold)
    if recall > RECALL_ENOUGH or len(sizes) < len(anchors):
        log.info("anchors: fit, best possible recall %.4f", recall)
        return recall
    better = search_anchors(sizes, len(anchors), threshold, generator)
    found = best_possible_recall(better, sizes, threshold)
    if found <= recall:
        log.info("anchors: best possible recall %.4f, and no better ones were found", recall)
        return recall
    log.info("anchors: new ones, best possible recall %.4f instead of %.4f", found, recall)
    fitted = torch.as_tensor(better).to(detector.anchors).view_as(detector.anchors)
    detector.anchors.copy_(fitted / fitted.new_tensor(detector.strides).view(-1, 1, 1))
    return found


def box_sizes(index: ImageIndex, image_size: int) -> Sizes:
    """Return the boxes' sizes at which they are trained on, tiny ones left out."""
    sizes_wh = index.sizes_hw[:, ::-1].astype(np.float64)
    scaled = sizes_wh * (image_size / sizes_wh.max(axis=1, keepdims=True))
    per_box = np.repeat(scaled, np.diff(index.offsets), axis=0)
    sizes: Sizes = index.boxes[:, 3:5] * per_box
    return sizes[(sizes >= SMALLEST_SIDE_PX).any(axis=1) & (sizes > 0).all(axis=1)]


def best_possible_recall(anchors: Sizes, sizes: Sizes, threshold: float) -> float:
    """Return the share of boxes that at least one anchor takes."""
    return float((_likeness(anchors, sizes) > 1 / threshold).mean())


def search_anchors(
    sizes: Sizes, count: int, threshold: float, generator: np.random.Generator
) -> Sizes:
    """Find anchors for boxes: k-means, then a genetic search from its result.

    Returns:
        (count, 2) sizes in pixels, by rising area.
    """
    if len(sizes) > BOXES_AT_MOST:
        sizes = generator.choice(sizes, BOXES_AT_MOST, replace=False)
    spread = sizes.std(axis=0).clip(min=1e-9)
    anchors = _k_means(sizes / spread, count, generator) * spread
    best, fitness = anchors, _fitness(anchors, sizes, threshold)
    for _ in range(GENERATIONS):
        mutant = (best * _mutation(best.shape, generator)).clip(min=SMALLEST_SIDE_PX)
        strength = _fitness(mutant, sizes, threshold)
        if strength > fitness:
            best, fitness = mutant, strength
    by_area: Sizes = best[best.prod(axis=1).argsort()]
    return by_area


def _likeness(anchors: Sizes, sizes: Sizes) -> NDArray[np.float64]:
    """(N,) how like a box its most like anchor is: the worse of both sides' ratios, in (0, 1]."""
    ratio = sizes[:, None] / anchors[None]  # (N, A, 2)
    worse = np.minimum(ratio, 1 / ratio).min(axis=2)
    likeness: NDArray[np.float64] = worse.max(axis=1)
    return likeness


def _fitness(anchors: Sizes, sizes: Sizes, threshold: float) -> float:
    """Mean likeness, where boxes that no anchor takes count as 0."""
    likeness = _likeness(anchors, sizes)
    return float((likeness * (likeness > 1 / threshold)).mean())


def _k_means(points: Sizes, count: int, generator: np.random.Generator) -> Sizes:
    """Lloyd's algorithm from centres drawn among the points; an empty cluster keeps its centre."""
    centres = generator.choice(points, count, replace=False)
    for _ in range(MEANS_ROUNDS):
        distance = np.square(points[:, None] - centres[None]).sum(axis=2)
        nearest = distance.argmin(axis=1)
        for number in range(count):
            members = points[nearest == number]
            if len(members):
                centres[number] = members.mean(axis=0)
    return centres


def _mutation(shape: tuple[int, ...], generator: np.random.Generator) -> Sizes:
    """Factors near 1 for most sides of most anchors, never for none."""
    while True:
        chosen = generator.random(shape) < MUTATED_SHARE
        change = chosen * generator.random() * generator.normal(0, MUTATION_SPREAD, shape)
        if change.any():
            factors: Sizes = (1 + change).clip(*MUTATION_LIMITS)
            return factors
