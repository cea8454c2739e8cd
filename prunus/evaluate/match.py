"""Which detections of an image hit a label, at ten IoU thresholds: YOLOv5's matching.

`spec/yolov5.md` section 2.11: a detection may only hit the label of its class with which its IoU is
best, and of several detections that claim one label the most confident hits it. COCO's matching
lets a detection whose label is taken have the next best, so the two differ by up to a point
(`evaluate.coco` gives COCO's).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from prunus.core.boxes import pairwise_iou
from prunus.core.records import Detections
from prunus.evaluate.truth import Labels

IOU_THRESHOLDS: NDArray[np.float32] = np.linspace(0.5, 0.95, 10).astype(np.float32)
"""COCO's: .50, .55, ... .95."""


def match_detections(
    boxes_xyxy: NDArray[np.float32],
    classes: NDArray[np.int64],
    label_boxes_xyxy: NDArray[np.float32],
    label_classes: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Return (N, 10): is the detection a hit at each of `IOU_THRESHOLDS`?

    Args:
        boxes_xyxy: (N, 4), most confident first.
        classes: (N,) of the detections.
        label_boxes_xyxy: (M, 4) in the same pixels.
        label_classes: (M,).
    """
    hits = np.zeros((len(boxes_xyxy), len(IOU_THRESHOLDS)), dtype=np.bool_)
    if len(boxes_xyxy) == 0 or len(label_boxes_xyxy) == 0:
        return hits
    iou = pairwise_iou(torch.from_numpy(boxes_xyxy), torch.from_numpy(label_boxes_xyxy)).numpy()
    iou = np.where(classes[:, None] == label_classes[None, :], iou, np.float32(0))  # (N, M)
    claimed = iou.argmax(axis=1)  # the one label that each detection may hit
    claimed_iou = iou.max(axis=1)
    for column, threshold in enumerate(IOU_THRESHOLDS):
        able = np.flatnonzero(claimed_iou >= threshold)
        _, first = np.unique(
            claimed[able], return_index=True
        )  # the most confident claim on each label
        hits[able[first], column] = True
    return hits


@dataclass(frozen=True)
class Matches:
    """All detections and labels of a data set: N and M of them, image after image.

    Attributes:
        hits: (N, 10) as `match_detections` gives them.
        scores: (N,)
        classes: (N,)
        images: (N,) the place of each one's image.
        label_classes: (M,)
        label_images: (M,)
    """

    hits: NDArray[np.bool_]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    images: NDArray[np.int64]
    label_classes: NDArray[np.int64]
    label_images: NDArray[np.int64]


def match_images(detections: Sequence[Detections], truth: Sequence[Labels]) -> Matches:
    """Match every image; one entry an image in both arguments."""
    hits = [
        match_detections(found.boxes_xyxy, found.classes, labels.boxes_xyxy, labels.classes)
        for found, labels in zip(detections, truth, strict=True)
    ]
    no_class = np.empty(0, dtype=np.int64)
    places = np.arange(len(truth))
    return Matches(
        hits=np.concatenate([np.empty((0, len(IOU_THRESHOLDS)), dtype=np.bool_), *hits]),
        scores=np.concatenate([np.empty(0, np.float32), *(found.scores for found in detections)]),
        classes=np.concatenate([no_class, *(found.classes for found in detections)]),
        images=np.repeat(places, [len(found) for found in detections]),
        label_classes=np.concatenate([no_class, *(labels.classes for labels in truth)]),
        label_images=np.repeat(places, [len(labels.classes) for labels in truth]),
    )
