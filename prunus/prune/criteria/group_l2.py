"""L2 norm of all that a channel holds in the weights that make it and in those that read it.

Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023, arXiv:2301.12900, section 3.3:
the squares of all coupled weights are added up. A channel of large filters that nobody listens to
is small here, unlike under `l2`.
"""

from collections.abc import Mapping

from torch import Tensor

from prunus.model.channels.table import ChannelGroup
from prunus.prune.criteria.members import per_group, relative_to_layer, summed_squares


def of_group(group: ChannelGroup, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return (n,) norms over filters and columns, relative to the group's mean.

    A score of 1 is the group's average channel, whatever the group.
    """
    return relative_to_layer(summed_squares(group, tensors, ("filter", "column")).sqrt())


score = per_group(of_group)
