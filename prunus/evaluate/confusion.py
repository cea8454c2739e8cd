"""Which class is taken for which, and what is found where there is nothing.

`spec/yolov5.md` 2.11: detections above confidence .25, pairs above IoU .45 whatever their classes,
the best overlaps first; a detection stays with the label that it overlaps best, and each label
with the best of its detections. So the numbers are not those of precision and recall, which match
within a class, by confidence, at another threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from prunus.core.boxes import pairwise_iou
from prunus.core.records import Detections
from prunus.evaluate.truth import Labels

CONFIDENCE = 0.25
IOU = 0.45
"""Of detectors as they are deployed, not of the mAP."""


@dataclass(frozen=True)
class Background:
    """What is found in images without a label, above `CONFIDENCE`.

    Attributes:
        images: How many there are.
        false_positives: Detections in them.
        images_with_any: Those with at least one.
    """

    images: int
    false_positives: int
    images_with_any: int

    def as_dict(self) -> dict[str, float | int | None]:
        """Return plain numbers; the mean is None without such images."""
        return {
            "confidence": CONFIDENCE,
            "images": self.images,
            "images_with_false_positives": self.images_with_any,
            "false_positives_per_image": self.false_positives / self.images
            if self.images
            else None,
        }


def confusion_matrix(
    detections: Sequence[Detections], truth: Sequence[Labels], class_count: int
) -> NDArray[np.int64]:
    """Return (K + 1, K + 1) counts; rows: found as, columns: labelled as, the last: nothing.

    Args:
        detections: One entry an image, as is the next.
        truth: The labels.
        class_count: K.
    """
    matrix = np.zeros((class_count + 1, class_count + 1), dtype=np.int64)
    for found, labels in zip(detections, truth, strict=True):
        likely = found.scores > CONFIDENCE
        classes = found.classes[likely]
        ours, theirs = _pairs(found.boxes_xyxy[likely], labels.boxes_xyxy)
        np.add.at(matrix, (classes[ours], labels.classes[theirs]), 1)
        np.add.at(matrix[:, class_count], np.delete(classes, ours), 1)
        np.add.at(matrix[class_count], np.delete(labels.classes, theirs), 1)
    return matrix


def count_background(detections: Sequence[Detections], truth: Sequence[Labels]) -> Background:
    """Count what is found in the images that have no label."""
    counts = [
        int((found.scores > CONFIDENCE).sum())
        for found, labels in zip(detections, truth, strict=True)
        if not len(labels.classes)
    ]
    return Background(len(counts), sum(counts), sum(count > 0 for count in counts))


def _pairs(
    boxes: NDArray[np.float32], label_boxes: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of detections and labels that belong together."""
    iou = pairwise_iou(torch.from_numpy(boxes), torch.from_numpy(label_boxes)).numpy()
    ours, theirs = np.nonzero(iou > IOU)
    order = np.argsort(-iou[ours, theirs], kind="stable")
    ours, theirs = ours[order], theirs[order]
    for one_each in (0, 1):  # each detection's best label, then each label's best detection
        _, first = np.unique((ours, theirs)[one_each], return_index=True)
        first.sort()
        ours, theirs = ours[first], theirs[first]
    return ours, theirs
