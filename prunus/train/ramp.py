"""How many weights are zero at each point of a training.

Zhu and Gupta, "To prune, or not to prune", 2017, arXiv:1710.01878: the share of zeros rises along a
cubic ramp, fast while many weights do not matter and slowly at the end (equation 1):

    s(t) = s_final + (s_initial - s_final) * (1 - t)^3,  t from 0 to 1 over the ramp
"""

import math
from dataclasses import dataclass
from typing import Literal

UPDATES = 100
"""Times that a ramp asks for more zeros: each time every weight is ranked anew."""
ROUNDING = 1e-9
"""Of a sum of a few shares."""


def cubic(progress: float, final: float, initial: float = 0.0) -> float:
    """Return the share of zeros at a progress in [0, 1] along the ramp: equation 1."""
    return final + (initial - final) * (1 - progress) ** 3


@dataclass(frozen=True)
class Ramp:
    """The share of zeros that is wanted over a run.

    Attributes:
        final: The share at its end, in [0, 1).
        begin: Share of the run before it.
        end: Share of the run after which `final` is reached.
        shape: "cubic", or "constant" for `final` from `begin` on.
    """

    final: float
    begin: float = 0.0
    end: float = 0.75
    shape: Literal["cubic", "constant"] = "cubic"

    def at(self, done: float) -> float:
        """Return the share when `done`, in [0, 1], of the run is over; it rises in UPDATES."""
        if done < self.begin:
            return 0.0
        if self.shape == "constant":
            return self.final
        progress = min((done - self.begin) / (self.end - self.begin), 1.0)
        return cubic(math.floor(progress * UPDATES + ROUNDING) / UPDATES, self.final)
