"""What a YOLOv5-family detector minimises: box, objectness and class terms.

Box: 1 - CIoU (Zheng et al., "Distance-IoU Loss", AAAI 2020, arXiv:1911.08287, section 3.3).
Objectness: cross entropy of every anchor in every cell with the CIoU that it reached. Classes:
cross entropy of the matched anchors. Each mean is taken level by level, then summed. Specification
sheet, section 2.3.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from prunus.model.assign import LevelMatches, assign
from prunus.model.detector import Detector

EPSILON = 1e-7
FOCAL_ALPHA = 0.25
"""Weight of positives in focal loss. Lin et al., ICCV 2017, arXiv:1708.02002, table 1b."""
BALANCE = {3: (4.0, 1.0, 0.4)}
"""Objectness weight of each level, from the finest, for detectors of three levels."""
BALANCE_OTHERWISE = (4.0, 1.0, 0.25, 0.06, 0.02)
REFERENCE_LEVELS, REFERENCE_CLASSES, REFERENCE_SIZE = 3, 80, 640
"""The gains were tuned on COCO, with three levels, at 640 pixels."""


Weigh = Callable[[Tensor], Tensor]
"""(N,) float64 amounts that N means are taken over -> (N,) their weights among all processes."""


@dataclass(frozen=True)
class LossGains:
    """Weights of the terms, and the few choices that the loss has.

    Attributes:
        box: Weight of the box term.
        objectness: Weight of the objectness term.
        classes: Weight of the class term.
        class_positive_weight: Weight of positive examples in the class term.
        objectness_positive_weight: The same in the objectness term.
        label_smoothing: Share in [0, 1) of certainty taken from the class labels.
        anchor_threshold: An anchor takes targets whose sides differ by less than this factor.
        focal_gamma: Exponent of the focal loss; 0 is plain cross entropy.
    """

    box: float = 0.05
    objectness: float = 1.0
    classes: float = 0.5
    class_positive_weight: float = 1.0
    objectness_positive_weight: float = 1.0
    label_smoothing: float = 0.0
    anchor_threshold: float = 4.0
    focal_gamma: float = 0.0


def scaled_gains(gains: LossGains, levels: int, classes: int, image_size: int) -> LossGains:
    """Fit the gains, tuned on COCO at 640 pixels, to another task.

    More levels add more terms, fewer classes make each class term larger, and smaller images have
    fewer empty cells.
    """
    per_level = REFERENCE_LEVELS / levels
    return replace(
        gains,
        box=gains.box * per_level,
        classes=gains.classes * classes / REFERENCE_CLASSES * per_level,
        objectness=gains.objectness * (image_size / REFERENCE_SIZE) ** 2 * per_level,
    )


@dataclass(frozen=True)
class LossTerms:
    """The three weighted terms: scalars, summed over levels, means over the batch."""

    box: Tensor
    objectness: Tensor
    classes: Tensor

    def __add__(self, other: "LossTerms") -> "LossTerms":
        return LossTerms(
            self.box + other.box,
            self.objectness + other.objectness,
            self.classes + other.classes,
        )

    def total(self, batch_size: int) -> Tensor:
        """What is minimised: the sum of the terms times the number of images."""
        return (self.box + self.objectness + self.classes) * batch_size

    def stacked(self) -> Tensor:
        """The terms as (3,) numbers without gradient: box, objectness, classes."""
        return torch.stack((self.box, self.objectness, self.classes)).detach()


class DetectionLoss:
    """The loss of one detector. Computed in float32 whatever the precision of the maps.

    Attributes:
        gains: As `scaled_gains` returned them.
        anchors: (L, A, 2) in grid cells.
        balance: Weight of each level's objectness term, from the finest.
    """

    def __init__(self, detector: Detector, gains: LossGains) -> None:
        """Take anchors and classes from the detector, and gains as `scaled_gains` returned them."""
        self.gains = gains
        self.anchors = detector.anchors.detach().float()
        self._classes = len(detector.names)
        levels = len(self.anchors)
        self.balance = BALANCE.get(levels, BALANCE_OTHERWISE)[:levels]

    def __call__(
        self, raw: list[Tensor], targets: Tensor, weigh: Weigh = torch.ones_like
    ) -> LossTerms:
        """Compare raw maps with targets.

        Args:
            raw: L maps (B, A, H, W, 5 + K) as the detector's `forward` returns them.
            targets: (T, 6) image, class, centre x, centre y, width, height; the last four as
                shares.
            weigh: (N,) what each mean is taken over -> (N,) its weight; see
                `core.distributed.Processes.weights`.
        """
        targets = targets.to(raw[0].device, torch.float32)
        anchors = self.anchors.to(raw[0].device)
        grids_hw = [(level.shape[2], level.shape[3]) for level in raw]
        matches = assign(targets, anchors, grids_hw, self.gains.anchor_threshold)
        box = objectness = classes = torch.zeros((), device=raw[0].device)
        amounts = [len(raw[0]), *map(len, matches)]
        share, *shares = weigh(torch.tensor(amounts, dtype=torch.float64)).tolist()
        for level, found, balance, weight in zip(raw, matches, self.balance, shares, strict=True):
            goal = torch.zeros(level.shape[:4], device=level.device)
            if len(found):
                predicted = level[found.image, found.anchor, found.row, found.column].float()
                overlap = complete_iou(relative_boxes(predicted, found.anchor_sizes), found.boxes)
                box = box + weight * (1 - overlap).mean()
                goal = _objectness_goal(found, overlap.detach().clamp(min=0), goal)
                if self._classes > 1:
                    term = self._class_term(predicted[:, 5:], found.classes)
                    classes = classes + weight * term
            term = self._objectness_term(level[..., 4].float(), goal)
            objectness = objectness + share * balance * term
        gains = self.gains
        return LossTerms(box * gains.box, objectness * gains.objectness, classes * gains.classes)

    def _objectness_term(self, logits: Tensor, goal: Tensor) -> Tensor:
        gains = self.gains
        return _cross_entropy(logits, goal, gains.objectness_positive_weight, gains.focal_gamma)

    def _class_term(self, logits: Tensor, classes: Tensor) -> Tensor:
        gains = self.gains
        goal = torch.full_like(logits, gains.label_smoothing / 2)
        goal[torch.arange(len(classes), device=goal.device), classes] = (
            1 - gains.label_smoothing / 2
        )
        return _cross_entropy(logits, goal, gains.class_positive_weight, gains.focal_gamma)


def complete_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """CIoU of (M, 4) boxes with the (M, 4) others in the same row; xywh, same unit.

    Returns:
        (M,) values in (-2, 1]: IoU, less the distance of the centres, less the difference in aspect
        ratio, whose weight is a constant to the gradient.
    """
    size, other_size = boxes[:, 2:], others[:, 2:]
    low, other_low = boxes[:, :2] - size / 2, others[:, :2] - other_size / 2
    high, other_high = low + size, other_low + other_size
    overlap = (torch.minimum(high, other_high) - torch.maximum(low, other_low)).clamp(min=0).prod(1)
    iou = overlap / (size.prod(1) + other_size.prod(1) - overlap + EPSILON)

    hull = torch.maximum(high, other_high) - torch.minimum(low, other_low)
    diagonal = hull.square().sum(1) + EPSILON
    distance = (boxes[:, :2] - others[:, :2]).square().sum(1)
    angle = torch.atan(size[:, 0] / (size[:, 1] + EPSILON))
    other_angle = torch.atan(other_size[:, 0] / (other_size[:, 1] + EPSILON))
    shape = (other_angle - angle).square() * (4 / math.pi**2)
    with torch.no_grad():
        weight = shape / (1 - iou + shape + EPSILON)
    return iou - distance / diagonal - weight * shape


def relative_boxes(predicted: Tensor, anchor_sizes: Tensor) -> Tensor:
    """Decode (M, 5 + K) raw values to (M, 4) boxes relative to their cell's corner, in cells."""
    share = predicted[:, :4].sigmoid() * 2
    return torch.cat((share[:, :2] - 0.5, share[:, 2:].square() * anchor_sizes), dim=1)


def _objectness_goal(found: LevelMatches, overlap: Tensor, goal: Tensor) -> Tensor:
    """Fill (B, A, H, W) zeros with the overlap of each slot's match.

    Where several matches share a slot the last one counts: found as the largest number, which has
    one result whatever the order of the writes, unlike writing the values themselves on a GPU.
    """
    _, anchors, rows, columns = goal.shape
    slot = ((found.image * anchors + found.anchor) * rows + found.row) * columns + found.column
    numbers = torch.arange(len(found), device=goal.device)
    winner = torch.full((goal.numel(),), -1, device=goal.device, dtype=torch.int64)
    winner = winner.scatter_reduce(0, slot, numbers, "amax")[slot]
    flat = goal.flatten().scatter(0, slot, overlap[winner])  # equal slots receive equal values
    return flat.view_as(goal)


def _cross_entropy(
    logits: Tensor, goal: Tensor, positive_weight: float, focal_gamma: float
) -> Tensor:
    weight = None if positive_weight == 1 else logits.new_tensor(positive_weight)
    if focal_gamma == 0:
        return F.binary_cross_entropy_with_logits(logits, goal, pos_weight=weight)
    loss = F.binary_cross_entropy_with_logits(logits, goal, pos_weight=weight, reduction="none")
    probability = logits.sigmoid()
    rightness = goal * probability + (1 - goal) * (1 - probability)
    alpha = goal * FOCAL_ALPHA + (1 - goal) * (1 - FOCAL_ALPHA)
    return (loss * alpha * (1 - rightness) ** focal_gamma).mean()
