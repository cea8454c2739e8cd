"""Group lasso: the gammas of channels that can only be removed together vanish together.

Yuan and Lin, "Model selection and estimation in regression with grouped variables", J. R. Stat.
Soc. B 68, 2006, with groups as in Fang et al., "DepGraph", CVPR 2023, arXiv:2301.12900: channels
that meet in additions. A group of k gammas v weighs sqrt(k) · ‖v‖; its proximal step is

    v <- v · max(0, 1 - pull · sqrt(k) / ‖v‖)

A group of one is pulled as by L1, and so is one of k equal gammas.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def shrink(gammas: Sequence[Tensor], channels: Sequence[Tensor], pull: float) -> list[Tensor]:
    """Return the gammas, each times the factor of its channel."""
    every, numbers = torch.cat(list(gammas)), torch.cat(list(channels))
    member = numbers >= 0
    count = int(numbers.max()) + 1 if len(numbers) else 0
    squares = every.new_zeros(count).index_add(0, numbers[member], every[member].square())
    sizes = every.new_zeros(count).index_add(0, numbers[member], torch.ones_like(every[member]))
    lengths = squares.sqrt().clamp(min=torch.finfo(every.dtype).tiny)
    factors = (1 - pull * sizes.sqrt() / lengths).clamp(min=0)
    shrunk = torch.where(member, every * factors[numbers.clamp(min=0)], every)
    return list(torch.split(shrunk, [len(gamma) for gamma in gammas]))
