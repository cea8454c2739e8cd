"""Box arithmetic on tensors. A box is xyxy (left, top, right, bottom) or xywh (centre, size)."""

import torch
from torch import Tensor


def xywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Turn (..., 4) centre-and-size boxes into corner boxes, in the same unit."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def xyxy_to_xywh(boxes: Tensor) -> Tensor:
    """Turn (..., 4) corner boxes into centre-and-size boxes, in the same unit."""
    top_left, bottom_right = boxes[..., :2], boxes[..., 2:]
    return torch.cat(((top_left + bottom_right) / 2, bottom_right - top_left), dim=-1)


def pairwise_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of every box with every other box.

    Args:
        boxes: (N, 4) xyxy, any length unit, right >= left and bottom >= top.
        others: (M, 4) xyxy, same unit.

    Returns:
        (N, M) values in [0, 1]. Two boxes of zero area have IoU 0, never NaN.
    """
    top_left = torch.maximum(boxes[:, None, :2], others[None, :, :2])  # (N, M, 2)
    bottom_right = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    overlap = (bottom_right - top_left).clamp(min=0).prod(dim=-1)  # (N, M)
    area, other_area = ((b[:, 2:] - b[:, :2]).prod(dim=-1) for b in (boxes, others))
    union = area[:, None] + other_area[None, :] - overlap
    return torch.where(union > 0, overlap / union, torch.zeros_like(overlap))
