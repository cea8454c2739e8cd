"""An evaluation as text: both metrics by name, by class and by size, and the time of each stage."""

from collections.abc import Mapping, Sequence

import numpy as np

from prunus.core.console import table
from prunus.evaluate.evaluation import Evaluation
from prunus.evaluate.intervals import Intervals
from prunus.evaluate.truth import Labels

AREAS = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, np.inf)}
"""COCO's sizes: area of the box in pixels, from and up to."""
COCO_ROWS = {
    "all": ("AP", "AP50", "AP75", "AR100"),
    "small": ("APs", None, None, "ARs"),
    "medium": ("APm", None, None, "ARm"),
    "large": ("APl", None, None, "ARl"),
}
"""Row -> the figures of its columns AP, AP50, AP75, AR."""


def yolov5_table(title: str, evaluation: Evaluation, intervals: Intervals | None = None) -> str:
    """Return precision, recall and mAP per class, the mean of all first; YOLOv5's metric."""
    header = ["class", "images", "labels", "P", "R", "mAP50", "mAP50-95"]
    mean = (evaluation.precision, evaluation.recall, evaluation.map50, evaluation.map50_95)
    rows: list[list[object]] = [
        ["all", len(evaluation.detections), evaluation.labels, *map(_share, mean)]
    ]
    for row in evaluation.per_class:
        figures = (row.precision, row.recall, row.map50, row.map50_95)
        rows.append([row.name, row.images, row.labels, *map(_share, figures)])
    if intervals is not None:
        header += ["mAP50 95 %", "mAP50-95 95 %"]
        for cells, both in zip(rows, (intervals.mean, *intervals.per_class), strict=True):
            cells += [_range(both.map50), _range(both.map50_95)]
    metric = f"YOLOv5's metric; P and R at confidence {evaluation.confidence:.3f}"
    return table(f"{title} ({metric})", header, rows)


def coco_table(title: str, evaluation: Evaluation) -> str:
    """Return COCO's AP over all sizes and by size; "-" where it defines none."""
    figures = evaluation.coco.as_dict() if evaluation.coco is not None else {}
    counts = {"all": evaluation.labels, **count_by_size(evaluation.truth)}
    rows = [
        (size, counts[size], *(_share(figures.get(name) if name else None) for name in names))
        for size, names in COCO_ROWS.items()
    ]
    header = ("size", "labels", "AP", "AP50", "AP75", "AR")
    return table(f"{title} (COCO's metric; small under 32x32 px, large over 96x96)", header, rows)


def speed_table(title: str, timings_ms: Mapping[str, float]) -> str:
    """Return milliseconds an image of each stage that predicts, and their sum."""
    stages = ("preprocess", "inference", "nms")
    rows = [(stage, f"{timings_ms[stage]:.2f}") for stage in stages]
    rows.append(("together", f"{sum(timings_ms[stage] for stage in stages):.2f}"))
    return table(title, ("stage", "ms an image"), rows)


def count_by_size(truth: Sequence[Labels]) -> dict[str, int]:
    """Return how many labels COCO counts as small, medium and large; one on a border in both."""
    boxes = np.concatenate([np.empty((0, 4)), *(labels.boxes_xyxy for labels in truth)])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return {
        size: int(((areas >= low) & (areas <= high)).sum()) for size, (low, high) in AREAS.items()
    }


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _range(both: tuple[float, float] | None) -> str:
    return "-" if both is None else f"{both[0]:.3f}-{both[1]:.3f}"
