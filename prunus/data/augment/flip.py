"""Mirror a picture and its boxes."""

from typing import cast

import cv2

from prunus.data.augment.sample import Sample
from prunus.data.decode import Pixels


def flip_left_right(sample: Sample) -> Sample:
    """Mirror around the vertical middle."""
    boxes = sample.boxes.copy()
    boxes[:, [1, 3]] = sample.image.shape[1] - sample.boxes[:, [3, 1]]
    return Sample(cast(Pixels, cv2.flip(sample.image, 1)), boxes)


def flip_up_down(sample: Sample) -> Sample:
    """Mirror around the horizontal middle."""
    boxes = sample.boxes.copy()
    boxes[:, [2, 4]] = sample.image.shape[0] - sample.boxes[:, [4, 2]]
    return Sample(cast(Pixels, cv2.flip(sample.image, 0)), boxes)
