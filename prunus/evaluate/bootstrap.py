"""How far the mAP would move with other images of the same kind: a bootstrap over images.

Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 6 and 13: the images are
drawn again, with replacement, and judged again; the 2.5th and 97.5th percentile of the results are
the interval. The network does not run again: an image drawn k times counts k times. An envelope is
a maximum, so AP of few labels is too high, and more so when resampled: intervals of classes with a
handful of labels lie high.

Each resample's figures are those that `average_precision` would give for it, in closed form. Along
recall its envelope is a staircase with a step at every hit, and behind the last hit a line from the
final precision down to (1, 0). So only hits matter, at most as many as labels, and a class is done
for all resamples at once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prunus.evaluate.average_precision import RECALLS
from prunus.evaluate.match import IOU_THRESHOLDS, Matches

Floats = NDArray[np.float64]
Counts = NDArray[np.int32]

COVERAGE = 0.95
MOST_VALUES = 1 << 24
"""Detections x resamples that are worked on at a time: 64 MB for each array."""
LAST = len(RECALLS) - 1


@dataclass(frozen=True)
class Resamples:
    """The figures of R resamples.

    Attributes:
        classes: (C,) those that have labels, ascending.
        ap50: (R, C) average precision at IoU .50; NaN where the resample has no label of the class.
        ap50_95: (R, C) its mean over the ten thresholds.
    """

    classes: NDArray[np.int64]
    ap50: Floats
    ap50_95: Floats

    @property
    def map50(self) -> Floats:
        """(R,) the mean over the classes that have labels in the resample."""
        return _mean_known(self.ap50)

    @property
    def map50_95(self) -> Floats:
        """(R,) likewise."""
        return _mean_known(self.ap50_95)


def draw(images: int, resamples: int, seed: int) -> Counts:
    """Return (R, images): how often each image is in each resample. Every row adds up to images."""
    if images == 0:
        return np.zeros((resamples, 0), dtype=np.int32)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(images, np.full(images, 1 / images), size=resamples)
    return drawn.astype(np.int32)


def resample(matches: Matches, counts: Counts) -> Resamples:
    """Return the figures of a data set in which image i appears `counts[r, i]` times.

    Args:
        matches: Of the data set as it is.
        counts: (R, images), as `draw` makes them.
    """
    by_image = np.ascontiguousarray(counts.T)  # (images, R): one row is copied for each detection
    order = np.argsort(-matches.scores, kind="stable")
    hits, classes, images = matches.hits[order], matches.classes[order], matches.images[order]
    present = np.unique(matches.label_classes)
    ap50, ap50_95 = np.zeros((2, len(counts), len(present)))
    for column, label_class in enumerate(present):
        own = classes == label_class
        label_images = matches.label_images[matches.label_classes == label_class]
        labels = by_image[label_images].sum(axis=0)
        areas = _in_parts(hits[own], images[own], by_image, labels)
        areas[labels == 0] = np.nan
        ap50[:, column], ap50_95[:, column] = areas[:, 0], areas.mean(axis=1)
    return Resamples(present, ap50, ap50_95)


def interval(values: Floats) -> tuple[float, float] | None:
    """Return the percentiles between which 95 % of the values lie; None without a value."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def _in_parts(
    hits: NDArray[np.bool_], images: NDArray[np.int64], by_image: Counts, labels: NDArray[np.int64]
) -> Floats:
    """Do `_areas` for so many resamples at a time that memory stays bounded."""
    resamples = by_image.shape[1]
    size = max(1, MOST_VALUES // max(len(images), 1))
    parts = [
        _areas(hits, images, by_image[:, start : start + size], labels[start : start + size])
        for start in range(0, resamples, size)
    ]
    return np.concatenate([np.empty((0, len(IOU_THRESHOLDS))), *parts])


def _areas(
    hits: NDArray[np.bool_], images: NDArray[np.int64], by_image: Counts, labels: NDArray[np.int64]
) -> Floats:
    """Return (R, 10) average precisions of one class.

    Args:
        hits: (n, 10), most confident first.
        images: (n,) the image of each.
        by_image: (images, R) how often each image counts.
        labels: (R,) the labels of this class.
    """
    areas = np.zeros((by_image.shape[1], len(IOU_THRESHOLDS)))
    if not len(images):
        return areas
    seen = by_image[images].cumsum(axis=0, dtype=np.int32)  # (n, R) detections so far
    for column in range(len(IOU_THRESHOLDS)):
        rows = np.flatnonzero(hits[:, column])
        if len(rows):
            found = by_image[images[rows]].cumsum(axis=0, dtype=np.int32)  # (hits, R)
            areas[:, column] = _staircase(found, seen[rows], seen[-1], np.maximum(labels, 1))
    return areas


def _staircase(found: Counts, seen: Counts, total: Counts, labels: NDArray[np.int64]) -> Floats:
    """Return (R,) areas under the envelope, by the trapezoids between `RECALLS`.

    Args:
        found: (hits, R) hits up to each hit.
        seen: (hits, R) detections up to each hit; 0 only where found is.
        total: (R,) all detections.
        labels: (R,) 1 or more.
    """
    precision = found / np.maximum(seen, 1)
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    below = np.searchsorted(RECALLS, found / labels, side="left")  # points left of each hit's step
    width = np.maximum(below - 0.5, 0) / LAST  # the first point counts half
    steps = (envelope * np.diff(width, axis=0, prepend=0)).sum(axis=0)
    left = LAST - below[-1]  # points on the line behind the last hit, the one at recall 1 not
    missed = 1 - found[-1] / labels
    slope = np.divide(
        found[-1] / np.maximum(total, 1), missed, out=np.zeros_like(missed), where=missed > 0
    )
    area: Floats = steps + slope * left * (left + 1) / (2 * LAST**2)
    return area


def _mean_known(values: Floats) -> Floats:
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=1)
    mean: Floats = total / np.maximum(known.sum(axis=1), 1)
    return mean
