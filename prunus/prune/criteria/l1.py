"""L1 norm of each filter: a filter of small weights adds little to its output.

Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, arXiv:1608.08710, section 3.1; here
relative to the layer's mean, so that layers can be compared.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from prunus.model.channels.table import ChannelGroup
from prunus.prune.criteria.members import mean_over_members, relative_to_layer


def score(group: ChannelGroup, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return (n,) mean relative L1 norm over the filters that make each channel."""
    scores = mean_over_members(group, tensors, "filter", _norm)
    return torch.zeros(len(group)) if scores is None else scores


def _norm(filters: Tensor) -> Tensor:
    return relative_to_layer(filters.flatten(1).abs().sum(dim=1))
