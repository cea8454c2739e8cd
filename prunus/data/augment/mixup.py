"""Mixup: two pictures blended, the boxes of both kept.

Zhang et al., ICLR 2018, arXiv:1710.09412.
"""

from typing import cast

import cv2
import numpy as np

from prunus.data.augment.sample import Sample
from prunus.data.decode import Pixels

BETA = 32.0
"""Both parameters of the Beta distribution (spec 2.9): shares lie mostly in 0.35 to 0.65."""


def mixup(sample: Sample, other: Sample, rng: np.random.Generator) -> Sample:
    """Blend two samples of one size; labels are joined without weights, as in the reference."""
    share = rng.beta(BETA, BETA)
    image = cv2.addWeighted(sample.image, share, other.image, 1 - share, 0)
    return Sample(cast(Pixels, image), np.concatenate((sample.boxes, other.boxes)))
