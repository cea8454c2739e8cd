"""`Detector.decode`, written into memory that is there already.

The same numbers with one pass over the maps instead of four: a large batch of candidates is the
largest tensor of an inference (300 MB for 32 images of 640 pixels and 80 classes).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from prunus.model.detector import Detector


def count_candidates(maps: Sequence[Tensor]) -> int:
    """Return N, the candidates of one image, for maps of (B, A, H, W, 5 + K)."""
    return sum(raw[0, ..., 0].numel() for raw in maps)


def decode_into(detector: Detector, maps: Sequence[Tensor], candidates: Tensor) -> None:
    """Decode raw maps as `Detector.decode` does.

    Args:
        detector: Whose maps they are.
        maps: Per level (B, A, H, W, 5 + K), of any float type.
        candidates: (B, N, 5 + K) float32, overwritten; each image's candidates lie together.
    """
    start = 0
    for raw, anchors, stride in zip(maps, detector.anchors, detector.strides, strict=True):
        _, count, height, width, _ = raw.shape
        stop = start + count * height * width
        level = candidates[:, start:stop].view(raw.shape)
        level.copy_(raw).sigmoid_()
        rows = torch.arange(height, device=raw.device, dtype=torch.float32).view(height, 1)
        columns = torch.arange(width, device=raw.device, dtype=torch.float32)
        level[..., :4] *= 2
        level[..., :2] -= 0.5
        level[..., 0] += columns
        level[..., 1] += rows
        level[..., :2] *= stride
        level[..., 2:4].square_()
        level[..., 2:4] *= (anchors * stride).view(1, count, 1, 1, 2)
        start = stop
