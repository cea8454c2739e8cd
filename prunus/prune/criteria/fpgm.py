"""FPGM: a filter near the middle of the others can be replaced by them.

He et al., "Filter Pruning via Geometric Median for Deep Neural Networks Acceleration", CVPR 2019,
arXiv:1811.00250, equation 7: the sum of the distances to the layer's other filters, which is least
near their geometric median. Looks at redundancy, not at size: a filter of zeros is no exception.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from prunus.model.channels.table import ChannelGroup
from prunus.prune.criteria.members import mean_over_members, per_group, relative_to_layer


def of_group(group: ChannelGroup, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return (n,) sums of L2 distances to the other filters, relative to the layer's mean.

    A score of 1 is as far from the others as the layer's average filter, whatever the layer; of a
    channel that several layers make, the mean over them.
    """
    return mean_over_members(group, tensors, "filter", _distances)


def _distances(filters: Tensor) -> Tensor:
    flat = (
        filters.cpu().double()
    )  # in single precision, equal filters would not be at distance zero
    return relative_to_layer(torch.cdist(flat, flat).sum(dim=1))


score = per_group(of_group)
