"""Size of the batch-norm scale: a channel scaled by almost nothing says almost nothing.

Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017,
arXiv:1708.06519, section 3. Meant for networks trained with `--sparsity`. The raw scale compares
layers fairly only where what follows has weights of one size; the two other scores do not ask that
(specification sheet slimming, 3.2.8).
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from prunus.core.errors import PruningError
from prunus.model.channels.table import ChannelGroup
from prunus.prune.criteria.members import has, mean_over_members, per_group, summed_squares


def of_group(group: ChannelGroup, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return (n,) mean |gamma| over the batch norms of each channel: the raw scale.

    Raises:
        PruningError: A layer has no batch norm (or it was folded away).
    """
    return _mean_scale("bn_scale", group, tensors, _size)


def of_group_by_layer(group: ChannelGroup, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return (n,) mean |gamma| relative to the largest of its layer, in [0, 1].

    The largest of every layer has score 1, so no layer is emptied before the others.

    Raises:
        PruningError: A layer has no batch norm (or it was folded away).
    """
    return _mean_scale("bn_scale_layer", group, tensors, _relative_to_largest)


def of_group_by_next(group: ChannelGroup, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return (n,) mean |gamma| times the L2 norm of all weights that read the channel.

    About what the channel adds to the outputs of the layers that read it (root of the sum of
    squares), for normalised inputs. Does not change when scale is moved from the batch norm to the
    layers behind. A channel that no weights read (see `members.has`) keeps |gamma| alone.

    Raises:
        PruningError: A layer has no batch norm (or it was folded away).
    """
    scale = _mean_scale("bn_scale_next", group, tensors, _size)
    columns = summed_squares(group, tensors, ("column",)).sqrt()
    return scale * torch.where(has(group, "column"), columns, 1.0)


def _mean_scale(
    name: str,
    group: ChannelGroup,
    tensors: Mapping[str, Tensor],
    measure: Callable[[Tensor], Tensor],
) -> Tensor:
    if not bool(has(group, "scale").all()):
        raise PruningError(
            f"{group.name}: has no batch norm, so {name} cannot rank its channels. "
            "Choose --criterion l1, or weights whose batch norms were not fused away."
        )
    return mean_over_members(group, tensors, "scale", measure)


def _size(scale: Tensor) -> Tensor:
    return scale.flatten().abs()


def _relative_to_largest(scale: Tensor) -> Tensor:
    sizes = _size(scale)
    return sizes / sizes.max().clamp(min=torch.finfo(sizes.dtype).tiny)


score = per_group(of_group)
score_by_layer = per_group(of_group_by_layer)
score_by_next = per_group(of_group_by_next)
