"""The ground truth of a data set, image by image, in pixels; and its fingerprint."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from prunus.core.boxes import xywh_to_xyxy

if TYPE_CHECKING:
    from prunus.data.index import ImageIndex

SINGLE_CLASS_NAME = "object"


@dataclass(frozen=True)
class Labels:
    """The ground truth of one image.

    Attributes:
        boxes_xyxy: (M, 4) float32, pixels of the image on disk.
        classes: (M,) int64.
    """

    boxes_xyxy: NDArray[np.float32]
    classes: NDArray[np.int64]


def truth_of(index: "ImageIndex", *, single_class: bool = False) -> tuple[Labels, ...]:
    """Return the labels of each image; all of class 0 when `single_class`."""
    return tuple(_labels_of(index, number, single_class) for number in range(len(index)))


def names_of(index: "ImageIndex", *, single_class: bool = False) -> tuple[str, ...]:
    """Return the names of the classes that are judged."""
    return (SINGLE_CLASS_NAME,) if single_class else tuple(index.names)


def fingerprint(paths: Sequence[Path], truth: Sequence[Labels], names: Sequence[str]) -> str:
    """Return a SHA-256 over file names, labels and class names: equal when the task is.

    Folders do not count, so that a data set may be moved; neither do pixels.
    """
    digest = hashlib.sha256("\0".join(names).encode())
    for path, labels in zip(paths, truth, strict=True):
        digest.update(b"\n" + os.fsencode(path.name) + b"\0%d\0" % len(labels.classes))
        digest.update(labels.classes.astype("<i8").tobytes())
        digest.update(labels.boxes_xyxy.astype("<f4").tobytes())
    return digest.hexdigest()


def _labels_of(index: "ImageIndex", number: int, single_class: bool) -> Labels:
    rows = index.boxes_of(number)  # (n, 5): class, centre and size as shares of the image
    height, width = index.sizes_hw[number]
    in_pixels = rows[:, 1:] * np.array([width, height, width, height], dtype=np.float32)
    boxes = xywh_to_xyxy(torch.from_numpy(in_pixels)).numpy()
    classes = rows[:, 0].astype(np.int64)
    return Labels(boxes, np.zeros_like(classes) if single_class else classes)
