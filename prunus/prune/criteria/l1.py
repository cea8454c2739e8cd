"""L1 norm of each filter: a filter of small weights adds little to its output.

Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, arXiv:1608.08710, section 3.1; here
relative to the layer's mean, so that layers can be compared: a score of 1 is the layer's average
filter, whatever the layer.
"""

from collections.abc import Mapping

from torch import Tensor

from prunus.model.channels.table import ChannelGroup
from prunus.prune.criteria.members import mean_over_members, per_group, relative_to_layer


def of_group(group: ChannelGroup, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return (n,) mean relative L1 norm over the filters that make each channel."""
    return mean_over_members(group, tensors, "filter", _norm)


def _norm(filters: Tensor) -> Tensor:
    return relative_to_layer(filters.abs().sum(dim=1))


score = per_group(of_group)
