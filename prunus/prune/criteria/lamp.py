"""LAMP: the weight of a filter next to those that would outlive it.

Lee et al., "Layer-Adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021, arXiv:2010.07611,
equation 4, on filters instead of single weights: the squared norm over the sum of the squared norms
that are not smaller. Greedily, that is the relative distortion of the layer by this removal when
all smaller ones are gone. The largest of every layer has score 1, so no layer is emptied before the
others.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from prunus.model.channels.table import ChannelGroup
from prunus.prune.criteria.members import mean_over_members, per_group, relative_to_layer


def of_group(group: ChannelGroup, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return (n,) scores in [0, 1]: what share of what is left in its layer goes with the channel.

    The squared norm of a channel that several layers make is the mean over them, each relative to
    its layer. Equal norms have equal scores.
    """
    squares = mean_over_members(group, tensors, "filter", _squared_norm)
    ranked = squares.sort().values
    left_from = ranked.flip(0).cumsum(0).flip(0)  # (n,) sum of this one and of all larger ones
    left = left_from[torch.searchsorted(ranked, squares)]  # from the first of equal ones on
    return squares / left.clamp(min=torch.finfo(left.dtype).tiny)


def _squared_norm(filters: Tensor) -> Tensor:
    return relative_to_layer(filters.square().sum(dim=1))


score = per_group(of_group)
