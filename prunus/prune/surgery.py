"""The cut itself: every tensor of a removed channel gets shorter, and its layer's sizes follow."""

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.table import ChannelTable, Place


class Kept(NamedTuple):
    """What is left of the tensors that a cut makes shorter.

    Attributes:
        positions: For each dimension that gets shorter: (k,) the positions that stay, ascending.
        sizes: Path of a module that remembers a number of channels without a tensor of that length
            -> the channels that it is left with. Only those that change.
    """

    positions: Mapping[Place, Tensor]
    sizes: Mapping[str, int]


def remove(
    model: nn.Module, table: ChannelTable, tags: Tensor, *, in_place: bool = False
) -> nn.Module:
    """Return the network without some channels.

    Modes, `requires_grad` and hooks are those of `model`. What is shared stays shared.

    Args:
        model: The network that `table` was traced from; stays as it is, unless in place.
        table: Its channels.
        tags: (R,) channels to remove.
        in_place: Cut `model` itself and return it. Its parameters are then new objects: make
            optimizers anew, an old one would go on training what is no longer there.

    Raises:
        PruningError: A channel must stay, or a layer would be left without any. Nothing is changed.
    """
    kept = kept_without(table, tags)
    smaller = model if in_place else copy.deepcopy(model)
    shorten_(smaller, kept)
    return smaller


def kept_without(table: ChannelTable, tags: Tensor) -> Kept:
    """Return what is left of each tensor when these channels go.

    Raises:
        PruningError: A channel must stay, or a layer would be left without any.
    """
    _check(table, tags)
    stays = {place: ~torch.isin(held, tags) for place, held in table.tags.items()}
    left = {path: ~torch.isin(held, tags) for path, held in table.sizes.items()}
    return Kept(
        {place: here.nonzero().flatten() for place, here in stays.items() if not bool(here.all())},
        {path: int(here.sum()) for path, here in left.items() if not bool(here.all())},
    )


def shorten_(model: nn.Module, kept: Kept) -> None:
    """Make tensors shorter, and let the modules know their new sizes, in place.

    Parameters and buffers are replaced by shorter ones, all at the end: when one cannot be made
    (no memory), nothing is changed.
    """
    tensors = named_tensors(model)
    by_name: dict[str, dict[int, Tensor]] = defaultdict(dict)
    for (name, dimension), positions in kept.positions.items():
        by_name[name][dimension] = positions
    shorter = {id(tensors[name]): _take(tensors[name], held) for name, held in by_name.items()}
    _replace(model, shorter)
    for path, channels in kept.sizes.items():
        _resize_bare(model.get_submodule(path), channels)


def mask_(model: nn.Module, table: ChannelTable, tags: Tensor) -> None:
    """Set everything that some channels hold to zero, in place: filters, columns, scales, offsets.

    The masked network computes what the one without these channels must compute. Statistics stay:
    what they normalise is zero.
    """
    tensors = named_tensors(model)
    with torch.no_grad():
        for (name, dimension), held in table.tags.items():
            if table.roles[name, dimension] != "statistic":
                gone = torch.isin(held, tags).nonzero().flatten().to(tensors[name].device)
                tensors[name].index_fill_(dimension, gone, 0)


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name; a shared one under each of its names."""
    return {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }


def _check(table: ChannelTable, tags: Tensor) -> None:
    for tag in tags.tolist():
        if tag in table.frozen:
            raise PruningError(f"channel {tag} must stay: it is {table.frozen[tag]}.")
    for group in table.groups:
        if bool(torch.isin(group.tags, tags).all()):
            raise PruningError(
                f"{group.name}: all {len(group)} channels would be removed. "
                "Lower --percent, or set --min-channels to 8 or more."
            )


def _take(tensor: Tensor, kept: Mapping[int, Tensor]) -> Tensor:
    data = tensor.detach()
    for dimension, rows in kept.items():
        data = data.index_select(dimension, rows.to(data.device))
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(data, requires_grad=tensor.requires_grad)
    return data


def _replace(model: nn.Module, shorter: Mapping[int, Tensor]) -> None:
    """Put the shorter tensors wherever the old ones are; set the sizes that modules remember."""
    for module in model.modules():
        touched = [name for name, tensor in _own(module).items() if id(tensor) in shorter]
        for name in touched:
            own = module._parameters if name in module._parameters else module._buffers
            own[name] = shorter[id(own[name])]  # type: ignore[assignment]
        if touched:
            for kinds, resize in RESIZE:
                if isinstance(module, kinds):
                    resize(module)


def _own(module: nn.Module) -> dict[str, Tensor]:
    own = {**module._parameters, **module._buffers}
    return {name: tensor for name, tensor in own.items() if tensor is not None}


def _resize_convolution(conv: Any) -> None:
    """Read the widths off the weight; a depthwise convolution has as many groups as channels."""
    rows, columns = conv.weight.shape[:2]
    if conv.groups == conv.in_channels > 1:
        conv.groups = rows if conv.transposed else rows // (conv.out_channels // conv.in_channels)
    others = columns * conv.groups
    conv.in_channels, conv.out_channels = (rows, others) if conv.transposed else (others, rows)


def _resize_linear(linear: Any) -> None:
    linear.out_features, linear.in_features = linear.weight.shape


def _resize_norm(norm: Any) -> None:
    norm.num_features = len(norm.running_mean if norm.weight is None else norm.weight)


def _resize_group_norm(norm: Any) -> None:
    """Only those of one channel a group are cut: others mix channels, which pins them."""
    norm.num_groups = norm.num_channels = len(norm.weight)


def remembered_size(norm: Any) -> int | None:
    """Return the number of channels that a norm without weights remembers; None: it is no norm."""
    size = getattr(norm, "num_channels", getattr(norm, "num_features", None))
    return size if isinstance(size, int) else None


def _resize_bare(norm: Any, channels: int) -> None:
    """Set the size of a norm without weights."""
    if isinstance(norm, nn.GroupNorm):
        norm.num_groups = channels if norm.num_groups == norm.num_channels else norm.num_groups
        norm.num_channels = channels
    else:
        norm.num_features = channels


def _resize_prelu(activation: Any) -> None:
    activation.num_parameters = len(activation.weight)


def _resize_embedding(embedding: Any) -> None:
    embedding.embedding_dim = embedding.weight.shape[1]


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
RESIZE: tuple[tuple[tuple[type[nn.Module], ...], Callable[[Any], None]], ...] = (
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED), _resize_convolution),
    ((nn.Linear,), _resize_linear),
    ((*BATCH_NORMS, *INSTANCE_NORMS), _resize_norm),
    ((nn.GroupNorm,), _resize_group_norm),
    ((nn.PReLU,), _resize_prelu),
    ((nn.Embedding,), _resize_embedding),
)
"""Kinds of modules, and how they learn their widths from their tensors. Others remember none."""
