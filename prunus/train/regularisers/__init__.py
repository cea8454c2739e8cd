"""The table of regularisers: how gammas are pulled to zero.

A new one is one file here and its line in REGULARISERS. It is applied after each optimizer step, as
a proximal step: it does not pass through the optimizer, whose momentum and scaling would change it.
The line has its tests: tests/train/test_train_regularisers.py runs over the whole table.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from prunus.core.errors import TrainingError, suggest
from prunus.train.regularisers import group, l1, polarization


class Regulariser(Protocol):
    """Moves gammas towards zero, as far as a pull goes."""

    def __call__(
        self, gammas: Sequence[Tensor], channels: Sequence[Tensor], pull: float
    ) -> list[Tensor]:
        """Return the gammas after one step; no gradient is recorded.

        Args:
            gammas: (C,) each, as they are; not changed.
            channels: (C,) each: the number of the channel that a gamma belongs to, or -1.
            pull: What moves a lone gamma that the loss does not hold, 0 or more.
        """


REGULARISERS: Mapping[str, Regulariser] = {
    "l1": l1.shrink,
    "group": group.shrink,
    "polarization": polarization.shrink,
}


def find_regulariser(name: str) -> Regulariser:
    """Return a row of REGULARISERS.

    Raises:
        TrainingError: There is none of that name.
    """
    if name not in REGULARISERS:
        raise TrainingError(
            f"regulariser: no regulariser '{name}'.{suggest(name, REGULARISERS)} "
            f"Known are {', '.join(REGULARISERS)}."
        )
    return REGULARISERS[name]
