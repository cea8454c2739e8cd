"""The exponential average of a detector's weights, which is what is validated and saved.

Early on the average follows quickly, later slowly. Specification sheet, section 2.4.
"""

import math
from copy import deepcopy

import torch

from prunus.model.detector import Detector

DECAY = 0.9999
RAMP_UPDATES = 2000
"""After this many updates the decay has reached 63 % of DECAY."""


class ExponentialAverage:
    """The average of all floating entries of a state dict, batch-norm statistics included.

    Attributes:
        detector: A copy in eval mode that holds the average.
        updates: How often the average was updated.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = deepcopy(detector).eval().requires_grad_(False)
        self.updates = 0

    @property
    def decay(self) -> float:
        """The weight of the past at the latest update."""
        return DECAY * (1 - math.exp(-self.updates / RAMP_UPDATES))

    @torch.no_grad()
    def update(self, detector: Detector) -> None:
        """Move towards the detector; counters are copied.

        `lerp` returns entries that are equal to the average, such as frozen ones, to the last bit.
        """
        self.updates += 1
        share = 1 - self.decay
        current = detector.state_dict()
        for name, average in self.detector.state_dict().items():
            if average.is_floating_point():
                average.lerp_(current[name], share)
            else:
                average.copy_(current[name])
