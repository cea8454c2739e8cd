"""How large boxes are at the size that a model is trained at, and which are too small to learn."""

import numpy as np
from numpy.typing import NDArray

from prunus.data.image_index import ImageIndex
from prunus.data.problems import Problem

TINY_PX = 2.0
"""Augmentation drops boxes that are no wider or no higher than this (spec 2.9)."""
SMALL_PX, MEDIUM_PX = 32, 96
"""COCO's bounds between small, medium and large: square roots of areas."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def boxes_px(index: ImageIndex, image_size: int) -> NDArray[np.float64]:
    """Return (M, 2) widths and heights once the long side of the image has `image_size` pixels."""
    sizes_wh = index.sizes_hw[:, ::-1].astype(np.float64)
    scaled = sizes_wh * (image_size / sizes_wh.max(axis=1, keepdims=True))
    sizes: NDArray[np.float64] = index.boxes[:, 3:5] * np.repeat(
        scaled, np.diff(index.offsets), axis=0
    )
    return sizes


def size_facts(index: ImageIndex, image_size: int) -> dict[str, object]:
    """Return counts of tiny, small, medium and large boxes, and quantiles of their side in px."""
    sizes = boxes_px(index, image_size)
    sides = np.sqrt(sizes.prod(axis=1))
    quantiles = np.quantile(sides, QUANTILES) if len(sides) else np.zeros(len(QUANTILES))
    return {
        "tiny": int((sizes.min(axis=1) <= TINY_PX).sum()) if len(sizes) else 0,
        "small": int((sides < SMALL_PX).sum()),
        "medium": int(((sides >= SMALL_PX) & (sides < MEDIUM_PX)).sum()),
        "large": int((sides >= MEDIUM_PX).sum()),
        "side_px": {
            f"{share:.0%}": round(float(value), 1)
            for share, value in zip(QUANTILES, quantiles, strict=True)
        },
    }


def tiny_boxes(index: ImageIndex, image_size: int) -> list[Problem]:
    """Name each image with boxes that are too small to be learnt at this size."""
    sizes = boxes_px(index, image_size)
    tiny = (sizes <= TINY_PX).any(axis=1)
    image_of = np.repeat(np.arange(len(index)), np.diff(index.offsets))
    counts = np.bincount(image_of[tiny], minlength=len(index))
    words = f"no wider or higher than {TINY_PX:g} px at {image_size}: augmentation drops them"
    return [
        Problem(index.paths[image], None, f"{counts[image]} boxes {words}", "box-tiny")
        for image in np.nonzero(counts)[0]
    ]
