"""The record of one evaluation: what `val.evaluate` returns and reports keep.

Two metrics of the same detections stand side by side, and differ by up to a point. YOLOv5's: the
area under the precision envelope, interpolated between the points; a detection may only hit the
label that it overlaps best; 300 detections an image. COCO's: the mean of 101 steps; a detection
whose best label is taken may have the next; 100 detections an image (`spec/yolov5.md` 2.11).
"""

from dataclasses import asdict, dataclass
from typing import Any

from prunus.core.records import Detections
from prunus.evaluate.average_precision import AveragePrecision
from prunus.evaluate.coco import CocoMetrics
from prunus.evaluate.match import Matches
from prunus.evaluate.truth import Labels


@dataclass(frozen=True)
class ClassMetrics:
    """One class that has labels.

    Attributes:
        name: The data set's name of it.
        images: Images with a label of it.
        labels: Its labels.
        precision: At the confidence where the mean F1 of all classes is highest.
        recall: At that same confidence.
        map50: Average precision at IoU .50.
        map50_95: Mean of the average precision at IoU .50, .55, ... .95.
    """

    name: str
    images: int
    labels: int
    precision: float
    recall: float
    map50: float
    map50_95: float


@dataclass(frozen=True)
class Evaluation:
    """How good a detector is on a data set: shares in [0, 1], 0 where there is nothing to count.

    Attributes:
        precision: Mean over the classes that have labels, as are the next three.
        recall: See `ClassMetrics`.
        map50: See `ClassMetrics`.
        map50_95: See `ClassMetrics`.
        confidence: Where precision and recall were read.
        per_class: The classes that have labels, by index.
        coco: COCO's twelve, if asked for.
        detections: One entry an image, in the order of the index.
        labels: How many labels there are.
        timings_ms: Mean per image: preprocess (waiting for the loader), inference, nms, matching,
            coco.
        truth: The labels of each image, in the same order.
        names: Class names, by index.
        figures: YOLOv5's figures with their curves.
        matches: Which detections hit a label: what the figures were made of.
    """

    precision: float
    recall: float
    map50: float
    map50_95: float
    confidence: float
    per_class: tuple[ClassMetrics, ...]
    coco: CocoMetrics | None
    detections: tuple[Detections, ...]
    labels: int
    timings_ms: dict[str, float]
    truth: tuple[Labels, ...]
    names: tuple[str, ...]
    figures: AveragePrecision
    matches: Matches

    def metrics(self) -> dict[str, Any]:
        """Return all figures as plain numbers for a report; None for what COCO cannot say."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "map50": self.map50,
            "map50_95": self.map50_95,
            "confidence": self.confidence,
            "images": len(self.detections),
            "labels": self.labels,
            "detections": sum(map(len, self.detections)),
            "coco": self.coco.as_dict() if self.coco is not None else None,
            "per_class": [asdict(row) for row in self.per_class],
            "speed_ms": dict(self.timings_ms),
        }
