"""What is lost as a group of channels gets narrower: the currency that widths are chosen in."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Damage:
    """Which channels of a group go first, and what is lost without them.

    Attributes:
        order: (n,) indices of the group's channels, the first to go first.
        lost: (n + 1,) float64, non-decreasing: what is lost without the first k channels; 0 at 0.
            In one unit for all groups.
    """

    order: Tensor
    lost: Tensor


def from_scores(scores: Tensor) -> Damage:
    """Return the damage of channels that matter each on its own, the lowest score going first.

    Args:
        scores: (n,) finite; what is below 0 counts as 0 when it is summed.
    """
    order = scores.argsort(stable=True)
    lost = scores[order].double().clamp(min=0).cumsum(0)
    return Damage(order, torch.cat((lost.new_zeros(1), lost)))
