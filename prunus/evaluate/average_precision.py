"""Hits -> precision, recall and average precision, as YOLOv5 defines them.

Source: `spec/yolov5.md` section 2.11. Two things differ from COCO's: AP is the area under the
interpolated precision envelope (not a mean of steps), and precision and recall are read at one
confidence for all classes, the one where the smoothed mean F1 is highest.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prunus.evaluate.match import IOU_THRESHOLDS

Floats = NDArray[np.float64]

CONFIDENCES: Floats = np.linspace(0, 1, 1000)
RECALLS: Floats = np.linspace(0, 1, 101)
F1_SMOOTHING = 0.1
"""Width of the box filter over the F1 curve, as a share of the 1000 confidences."""


@dataclass(frozen=True)
class AveragePrecision:
    """Figures of every class that has labels; C of them, ascending.

    Attributes:
        classes: (C,) class indices.
        label_counts: (C,) labels of each class.
        precision: (C,) at `confidence`.
        recall: (C,) at `confidence`.
        average_precision: (C, 10) at each of `match.IOU_THRESHOLDS`.
        confidence: Where the smoothed F1, averaged over the classes, is highest; 0 without labels
            or detections.
        precision_curves: (C, 1000) at IoU .5, by `CONFIDENCES`.
        recall_curves: (C, 1000), likewise.
        precision_by_recall: (C, 101) the envelope at IoU .5, by `RECALLS`.
    """

    classes: NDArray[np.int64]
    label_counts: NDArray[np.int64]
    precision: Floats
    recall: Floats
    average_precision: Floats
    confidence: float
    precision_curves: Floats
    recall_curves: Floats
    precision_by_recall: Floats

    @property
    def map50(self) -> float:
        return _mean(self.average_precision[:, 0])

    @property
    def map50_95(self) -> float:
        return _mean(self.average_precision)

    @property
    def mean_precision(self) -> float:
        return _mean(self.precision)

    @property
    def mean_recall(self) -> float:
        return _mean(self.recall)


def average_precision(
    hits: NDArray[np.bool_],
    scores: NDArray[np.float32],
    classes: NDArray[np.int64],
    label_classes: NDArray[np.int64],
) -> AveragePrecision:
    """Return the figures of a whole data set.

    Args:
        hits: (N, 10) of all images' detections, as `match.match_detections` gives them.
        scores: (N,) their confidences.
        classes: (N,) their classes. Those of classes without labels do not count.
        label_classes: (M,) the classes of all images' labels.
    """
    order = np.argsort(-scores, kind="stable")
    hits, scores, classes = hits[order], scores[order], classes[order]
    present, label_counts = np.unique(label_classes, return_counts=True)
    areas = np.zeros((len(present), len(IOU_THRESHOLDS)))
    precision_curves, recall_curves = np.zeros((2, len(present), len(CONFIDENCES)))
    by_recall = np.zeros((len(present), len(RECALLS)))
    for number, (label_class, label_count) in enumerate(zip(present, label_counts, strict=True)):
        own = classes == label_class
        if not own.any():
            continue
        precision, recall = _curves(hits[own], int(label_count))
        envelopes = [_envelope(precision[:, i], recall[:, i]) for i in range(len(IOU_THRESHOLDS))]
        areas[number] = np.trapezoid(envelopes, RECALLS)
        by_recall[number] = envelopes[0]
        precision_curves[number] = _by_confidence(scores[own], precision[:, 0], before_first=1.0)
        recall_curves[number] = _by_confidence(scores[own], recall[:, 0], before_first=0.0)
    best = _best_confidence(precision_curves, recall_curves)
    return AveragePrecision(
        classes=present.astype(np.int64),
        label_counts=label_counts.astype(np.int64),
        precision=precision_curves[:, best],
        recall=recall_curves[:, best],
        average_precision=areas,
        confidence=float(CONFIDENCES[best]),
        precision_curves=precision_curves,
        recall_curves=recall_curves,
        precision_by_recall=by_recall,
    )


def _curves(hits: NDArray[np.bool_], label_count: int) -> tuple[Floats, Floats]:
    """Return (n, 10) precision and recall after each detection, most confident first."""
    found = hits.cumsum(axis=0)
    seen = np.arange(1, len(hits) + 1)[:, None]
    return found / seen, found / label_count


def _envelope(precision: Floats, recall: Floats) -> Floats:
    """Precision envelope at `RECALLS`; it starts at recall 0, precision 1 and ends at 1, 0."""
    recall = np.concatenate(([0.0], recall, [1.0]))
    precision = np.concatenate(([1.0], precision, [0.0]))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return np.interp(RECALLS, recall, envelope)


def _by_confidence(scores: NDArray[np.float32], curve: Floats, before_first: float) -> Floats:
    """Read a curve at `CONFIDENCES`; above the highest score it is `before_first`."""
    read: Floats = np.interp(-CONFIDENCES, -scores, curve, left=before_first)
    return read


def _best_confidence(precision: Floats, recall: Floats) -> int:
    """Return the place in `CONFIDENCES` of the highest smoothed F1, averaged over the classes."""
    if len(precision) == 0:
        return 0
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    half_width = round(len(CONFIDENCES) * F1_SMOOTHING) // 2
    padded = np.pad(f1.mean(axis=0), half_width, mode="edge")
    width = 2 * half_width + 1
    return int(np.convolve(padded, np.full(width, 1 / width), mode="valid").argmax())


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else 0.0
