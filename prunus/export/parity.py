"""Does the exported file compute what torch computes? Asked before an export counts as done."""

from dataclasses import dataclass

import torch
from torch import Tensor

from prunus.core.boxes import xywh_to_xyxy
from prunus.core.errors import ParityError
from prunus.core.records import Runner
from prunus.evaluate.nms import non_maximum_suppression

MAX_RELATIVE = 1e-3
"""Of a value, or of 1 where the value is smaller. Two float32 runtimes differ by about 1e-5."""
MAX_BOX_PX = 1e-2
CONFIDENCE, IOU, MAX_DETECTIONS = 0.25, 0.45, 1000
"""What `predict` uses, so the boxes compared are those that a user sees."""
MARGIN = 0.01
"""Candidates of so much lower scores are partners too."""


TOGETHER = 2
"""Images run at once where the file lets us choose; two, so that leaks between images show."""


@dataclass(frozen=True)
class Parity:
    """How far two runners are apart on the same images.

    Attributes:
        max_absolute: Largest difference of any candidate's value, in pixels or probability.
        max_relative: Largest difference as a share of the value, or of 1 where that is larger.
        max_box_px: Largest difference of any side of a box that either keeps from what the other
            finds there, whether or not it keeps it too: two boxes may be rounded to either side of
            a threshold. Infinite when the other finds nothing of the class.
        boxes: Boxes after suppression in the reference.
        images: Images compared.
    """

    max_absolute: float
    max_relative: float
    max_box_px: float
    boxes: int
    images: int

    @property
    def holds(self) -> bool:
        return self.max_relative <= MAX_RELATIVE and self.max_box_px <= MAX_BOX_PX


def check_parity(reference: Runner, exported: Runner, images: Tensor) -> Parity:
    """Run both on the same images and compare every candidate and the boxes after suppression.

    Args:
        reference: What is right: torch in float32.
        exported: What was made of it.
        images: (B, 3, H, W) uint8, of a size that both take.

    Raises:
        ParityError: They differ by more than MAX_RELATIVE or MAX_BOX_PX; it holds the figures.
    """
    parity = compare(reference, exported, images)
    if not parity.holds:
        raise ParityError(
            f"the exported model does not compute what torch does on {parity.images} images: "
            f"values differ by up to {parity.max_absolute:.3g}, relative {parity.max_relative:.3g} "
            f"(allowed {MAX_RELATIVE:g}), boxes by {parity.max_box_px:.3g} px "
            f"(allowed {MAX_BOX_PX:g}). "
        )
    return parity


def compare(reference: Runner, exported: Runner, images: Tensor) -> Parity:
    """Measure how far the two runners are apart; see `check_parity`."""
    absolute = relative = box_px = 0.0
    boxes = 0
    for part in torch.split(images, exported.batch or TOGETHER):
        expected = reference(part).float().cpu()
        found = exported(filled(part, exported.batch))[: len(part)].float().cpu()
        if expected.shape != found.shape:
            raise ParityError(
                f"the exported model's output is {tuple(found.shape)}, "
                f"torch's {tuple(expected.shape)}."
            )
        difference = (expected - found).abs()
        absolute = _worst(absolute, difference)
        relative = _worst(relative, difference / expected.abs().clamp(min=1))
        for one, other in zip(expected, found, strict=True):
            kept = _suppress(one)
            box_px = max(box_px, _farthest(kept, other), _farthest(_suppress(other), one))
            boxes += len(kept)
    return Parity(absolute, relative, box_px, boxes, len(images))


def filled(images: Tensor, batch: int | None) -> Tensor:
    """Repeat the last image until there are `batch`."""
    if batch is None or len(images) == batch:
        return images
    return torch.cat((images, images[-1:].expand(batch - len(images), -1, -1, -1)))


def box_distance(boxes: Tensor, others: Tensor) -> float:
    """Return the largest distance in pixels from a box of either set to its partner in the other.

    Partners are the nearest boxes of the same class. Order is left out of it: scores that are equal
    to six digits may come in any order.

    Args:
        boxes: (N, 6) xyxy, score, class.
        others: (M, 6), likewise.

    Returns:
        Infinity where a box has no partner, or the sets are not equally large.
    """
    if len(boxes) != len(others):
        return float("inf")
    return max(_distances(boxes, others), _distances(others, boxes))


def _farthest(boxes: Tensor, candidates: Tensor) -> float:
    """Return the largest distance in pixels from a box to the nearest candidate of its class.

    Args:
        boxes: (n, 6) xyxy, score, class, as the one side keeps them.
        candidates: (N, 5 + K) of the other side.
    """
    scores, classes = (candidates[:, 5:] * candidates[:, 4:5]).max(dim=1)
    likely = scores > CONFIDENCE - MARGIN
    columns = (xywh_to_xyxy(candidates[likely, :4]), scores[likely, None], classes[likely, None])
    return _distances(boxes, torch.cat(columns, dim=1))


def _distances(boxes: Tensor, others: Tensor) -> float:
    """Return the largest distance from any of the boxes to its nearest partner among the others."""
    if not len(boxes):
        return 0.0
    if not len(others):
        return float("inf")
    distance = (boxes[:, None, :4] - others[None, :, :4]).abs().amax(dim=-1)  # (n, N)
    distance[boxes[:, None, 5] != others[None, :, 5]] = float("inf")
    return float(distance.amin(dim=1).max())


def _suppress(candidates: Tensor) -> Tensor:
    (kept,) = non_maximum_suppression(
        candidates[None],
        confidence=CONFIDENCE,
        iou=IOU,
        max_detections=MAX_DETECTIONS,
        multi_label=False,
    )
    return kept


def _worst(so_far: float, differences: Tensor) -> float:
    """Return the larger one; a NaN counts as infinitely far."""
    infinity = float("inf")
    known = differences.nan_to_num(nan=infinity, posinf=infinity)
    return max(so_far, float(known.max())) if known.numel() else so_far
