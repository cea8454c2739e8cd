"""`--multi-scale`: each batch at a size of its own. Specification sheet, section 2.4."""

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

RANGE = (0.5, 1.5)
"""Of the image size."""
WORD = 1 << 31
"""Third word of the seed, far from those of an epoch's order and samples."""


@dataclass(frozen=True)
class Scales:
    """The size of each batch: a pure function of (seed, epoch, batch).

    Attributes:
        image_size: The size in the middle, in pixels.
        stride: The detector's largest; sizes are multiples of it.
        seed: The run's.
    """

    image_size: int
    stride: int
    seed: int

    @property
    def largest(self) -> int:
        """The largest side that a batch may have, in pixels."""
        return int(self.image_size * RANGE[1]) // self.stride * self.stride

    def size(self, epoch: int, batch: int) -> int:
        """Return the side of a batch, in pixels."""
        low, high = (int(self.image_size * share) // self.stride for share in RANGE)
        generator = np.random.default_rng((self.seed, epoch, WORD, batch))
        return int(generator.integers(max(low, 1), high, endpoint=True)) * self.stride

    def resize(self, images: Tensor, epoch: int, batch: int) -> Tensor:
        """Bring (B, 3, H, W) images, as numbers, to the size of a batch."""
        size = self.size(epoch, batch)
        if images.shape[-2:] == (size, size):
            return images
        return F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
