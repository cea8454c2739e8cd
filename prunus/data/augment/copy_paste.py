"""Copy-paste: objects cut out along their outlines and pasted mirrored into the same picture.

Ghiasi et al., CVPR 2021, arXiv:2012.07177; how many and where as in the specification sheet, 2.9.
"""

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from prunus.data.augment.sample import Sample
from prunus.data.decode import Pixels

COVERED_AT_MOST = 0.3
"""Share of any other box that a pasted object's box may cover."""


def copy_paste(sample: Sample, share: float, rng: np.random.Generator) -> Sample:
    """Paste mirror images of objects where they cover no other one too much.

    Args:
        sample: Objects without an outline stay where they are.
        share: Of the objects with an outline, in [0, 1].
        rng: Draws which.
    """
    outlined = [number for number, rings in enumerate(sample.outlines or ()) if rings]
    count = round(share * len(outlined))
    if not count or sample.outlines is None:
        return sample
    width = sample.image.shape[1]
    boxes, outlines = sample.boxes, list(sample.outlines)
    mask = np.zeros(sample.image.shape[:2], dtype=np.uint8)
    for number in rng.choice(outlined, count, replace=False):
        box = sample.boxes[number].copy()
        box[[1, 3]] = width - box[[3, 1]]
        if (covered(boxes[:, 1:], box[1:]) >= COVERED_AT_MOST).any():
            continue
        rings = tuple(ring * (-1, 1) + (width, 0) for ring in sample.outlines[number])
        edges = [np.rint(ring - 0.5).astype(np.int32) for ring in rings]
        one = cv2.fillPoly(np.zeros_like(mask), edges, 1)
        mask |= one.astype(np.uint8)
        boxes = np.concatenate((boxes, box[None]))
        outlines.append(rings)
    mirrored = cv2.flip(sample.image, 1)
    image = cast(Pixels, np.where(mask[..., None] > 0, mirrored, sample.image))
    return Sample(image, boxes, tuple(outlines))


def covered(boxes: NDArray[np.float32], box: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (n,) the share of each of (n, 4) xyxy boxes that lies in the (4,) box."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    inside = (high - low).clip(0).prod(axis=1)
    area: NDArray[np.float32] = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).clip(1e-9)
    share: NDArray[np.float32] = inside / area
    return share
