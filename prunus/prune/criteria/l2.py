"""L2 norm of each filter: like L1, but a few large weights count more than many small ones.

He et al., "Soft Filter Pruning", IJCAI 2018, arXiv:1808.06866, section 3.2; here relative to the
layer's mean, so that layers can be compared.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from prunus.model.channels.table import ChannelGroup
from prunus.prune.criteria.members import mean_over_members, relative_to_layer


def score(group: ChannelGroup, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return (n,) mean relative L2 norm over the filters that make each channel."""
    scores = mean_over_members(group, tensors, "filter", _norm)
    return torch.zeros(len(group)) if scores is None else scores


def _norm(filters: Tensor) -> Tensor:
    return relative_to_layer(filters.flatten(1).square().sum(dim=1).sqrt())
