"""Size of the batch-norm scale: a channel scaled by almost nothing says almost nothing.

Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017,
arXiv:1708.06519, section 3. Meant for networks trained with `--sparsity`.
"""

from collections.abc import Mapping

from torch import Tensor

from prunus.core.errors import PruningError
from prunus.model.channels.table import ChannelGroup
from prunus.prune.criteria.members import mean_over_members


def score(group: ChannelGroup, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return (n,) mean |gamma| over the batch norms of each channel.

    Raises:
        PruningError: A layer has no batch norm (or it was folded away).
    """
    scores = mean_over_members(group, tensors, "scale", Tensor.abs)
    if scores is None:
        raise PruningError(
            f"{group.name}: has no batch norm, so bn_scale cannot rank its channels. "
            "Choose --criterion l1, or weights whose batch norms were not fused away."
        )
    return scores
