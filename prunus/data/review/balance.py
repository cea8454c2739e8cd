"""How often each class occurs, and the classes that a split lacks."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from prunus.data.image_index import ImageIndex
from prunus.data.problems import Problem


def class_balance(index: ImageIndex) -> list[dict[str, object]]:
    """Return for each class its name, images, boxes, and share of all boxes in [0, 1]."""
    classes = index.boxes[:, 0].astype(np.int64)
    count = len(index.names)
    boxes = np.bincount(classes, minlength=count)
    image_of = np.repeat(np.arange(len(index)), np.diff(index.offsets))
    images = np.bincount(np.unique(np.stack((image_of, classes)), axis=1)[1], minlength=count)
    total = max(len(classes), 1)
    return [
        {
            "class": name,
            "images": int(images[number]),
            "boxes": int(boxes[number]),
            "share": float(boxes[number] / total),
        }
        for number, name in enumerate(index.names)
    ]


def absent_classes(yaml: Path, indices: Mapping[str, ImageIndex]) -> list[Problem]:
    """Name the classes without a box in training or validation."""
    return [
        Problem(
            yaml, None, f"{split}: no box of class '{row['class']}'", "class-absent"
        )
        for split, index in indices.items()
        if split in ("train", "val")
        for row in class_balance(index)
        if not row["boxes"]
    ]  # fmt: skip
