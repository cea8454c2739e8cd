"""Candidates -> detections: thresholds, then non-maximum suppression, as YOLOv5 does it.

Rules from `spec/yolov5.md` section 2.7: strict `>` thresholds, the objectness first, then
objectness x class probability; at most 30,000 candidates enter the suppression. Unlike the original
there is no time limit, and classes are kept apart exactly (`suppress`).
"""

import numpy as np
import torch
from torch import Tensor

from prunus.core.boxes import xywh_to_xyxy
from prunus.evaluate.suppress import suppress

MAX_CANDIDATES = 30_000
"""The most confident candidates of an image that enter the suppression (`spec/yolov5.md` 2.7)."""
FIRST_TRIAL = 4096
"""Fastest of 512 ... 30,000 on 128 COCO images: 0.81 ms an image, all at once 1.24."""
TRIAL_GROWTH = 4


def non_maximum_suppression(
    candidates: Tensor,
    *,
    confidence: float,
    iou: float,
    max_detections: int,
    multi_label: bool,
    agnostic: bool = False,
) -> list[Tensor]:
    """Return the detections of each image in input pixels, best score first.

    One (n, 6) float32 tensor an image: left, top, right, bottom, score, class.

    Args:
        candidates: (B, N, 5 + K) as a `Runner` returns them: cx, cy, w, h in input pixels,
            objectness, classes.
        confidence: Objectness and score must both be greater than this, in [0, 1).
        iou: A box goes when its IoU with a better one of its class is greater than this, in [0, 1].
        max_detections: At most so many an image.
        multi_label: One candidate for every class above the threshold (when K > 1), not only for
            the best.
        agnostic: Boxes suppress each other whatever their class.
    """
    with torch.no_grad():
        return [
            _suppress_image(image, confidence, iou, max_detections, multi_label, agnostic)
            for image in candidates.float()
        ]


def _suppress_image(
    candidates: Tensor, confidence: float, iou: float, limit: int, multi_label: bool, agnostic: bool
) -> Tensor:
    """Suppress one image's candidates, the most confident of them first.

    What stays of the first M does not depend on the others, so a small M is tried before a larger
    one: as a rule the limit is reached, or the list ends, within the first.
    """
    class_count = candidates.shape[1] - 5
    places, scores = _above_threshold(candidates, confidence, multi_label)
    order = _most_confident_first(scores)[:MAX_CANDIDATES]
    size = FIRST_TRIAL
    while True:
        first = order[:size]
        classes = places[first] % class_count
        boxes = xywh_to_xyxy(candidates[places[first] // class_count, :4])
        groups = torch.zeros_like(classes) if agnostic else classes
        keep = suppress(boxes, groups, iou, limit)
        if len(keep) == limit or size >= len(order):
            break
        size *= TRIAL_GROWTH
    columns = (boxes[keep], scores[first[keep], None], classes[keep, None].float())
    return torch.cat(columns, dim=1)


def _above_threshold(
    candidates: Tensor, confidence: float, multi_label: bool
) -> tuple[Tensor, Tensor]:
    """Return places (candidate x K + class), ascending, and scores, (n,) each."""
    class_count = candidates.shape[1] - 5
    rows = (candidates[:, 4] > confidence).nonzero()[:, 0]
    likely = candidates.index_select(0, rows)
    scores = likely[:, 5:] * likely[:, 4:5]  # (rows, K)
    if multi_label and class_count > 1:
        flat = (scores > confidence).flatten().nonzero()[:, 0]
        return rows[flat // class_count] * class_count + flat % class_count, scores.flatten()[flat]
    best, classes = scores.max(dim=1)
    above = best > confidence
    return (rows * class_count + classes)[above], best[above]


def _most_confident_first(scores: Tensor) -> Tensor:
    """Return the order of falling score; equal scores keep their order."""
    if scores.device.type != "cpu":
        return torch.sort(scores, descending=True, stable=True).indices
    # One sort of whole numbers (score's bits, then place) is 15 times as fast as a stable sort of
    # floats: the bits of non-negative floats rise with their value.
    bits = scores.numpy().view(np.int32).astype(np.int64)
    keys = ((np.iinfo(np.int32).max - bits) << 32) | np.arange(len(bits))
    return torch.from_numpy(np.sort(keys) & np.iinfo(np.uint32).max)
