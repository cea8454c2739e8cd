"""What removed channels used to say, whatever the image: constants, given to their readers."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunus.model.channels.probe import Inputs, call_quietly
from prunus.model.channels.table import ChannelTable
from prunus.prune.readers import readers_of
from prunus.prune.surgery import named_tensors

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Fold:
    """What became of the constants of removed channels.

    Attributes:
        layers: Layers that now add the constants which they used to read.
        skipped: Layers that read constants but have neither bias nor batch norm to take them.
    """

    layers: tuple[str, ...]
    skipped: tuple[str, ...]


def fold_constants_(
    smaller: nn.Module, model: nn.Module, table: ChannelTable, tags: Tensor, inputs: Inputs
) -> Fold:
    """Give the readers of removed channels, in place, the constants that those would emit.

    A channel whose scale is zero still emits act(beta), which its readers are used to. The
    constants are found by running `model` with the scales (or filters) of the removed channels at
    zero: so they pass residuals, concatenations, poolings as they do in earnest. A reader takes
    sum(W · constant) into its bias, or out of the running mean of the batch norm that follows.
    Exact where the scale was zero, but for the zero-padded borders of kernels larger than 1
    (specification sheet slimming, 3.2.6).

    Args:
        smaller: `model` without the channels.
        model: The network that `table` was traced from.
        table: Its channels.
        tags: (R,) the removed channels.
        inputs: What to run `model` on; noise will do.
    """
    readers = _readers(model, table, tags)
    constants = _mean_inputs(silenced(model, table, tags), set(readers.values()), inputs)
    tensors, changed = named_tensors(model), named_tensors(smaller)
    folded: list[str] = []
    skipped: list[str] = []
    for weight, path in readers.items():
        if path not in constants:
            continue
        reader = model.get_submodule(path)
        gone = torch.isin(table.tags[weight, 1], tags)
        lost = contribution(tensors[weight], constants[path], gone, getattr(reader, "groups", 1))
        lost = lost[~torch.isin(table.tags[weight, 0], tags)]
        bias, mean = changed.get(f"{path}.bias"), changed.get(table.norms.get(weight, ""))
        if bias is not None:
            bias.data += lost.to(bias)
        elif mean is not None:
            mean.data -= lost.to(mean)
        (skipped if bias is None and mean is None else folded).append(path)
    return Fold(tuple(folded), tuple(skipped))


def _readers(model: nn.Module, table: ChannelTable, tags: Tensor) -> dict[str, str]:
    """Return weight -> path of the layers that read a removed channel and may take a constant."""
    return {
        reader.weight: reader.path
        for reader in readers_of(table, tags)
        if reader.weight.rpartition(".")[2] == "weight"
        and isinstance(model.get_submodule(reader.path), (*CONVOLUTIONS, nn.Linear))
    }


def silenced(model: nn.Module, table: ChannelTable, tags: Tensor) -> nn.Module:
    """Return a copy whose channels `tags` say the same whatever the input."""
    silenced = copy.deepcopy(model)
    tensors = named_tensors(silenced)
    with torch.no_grad():
        for (name, dimension), held in table.tags.items():
            if table.roles[name, dimension] in ("filter", "scale"):
                gone = torch.isin(held, tags).nonzero().flatten()
                tensors[name].index_fill_(dimension, gone.to(tensors[name].device), 0)
    return silenced


def _mean_inputs(model: nn.Module, paths: set[str], inputs: Inputs) -> dict[str, Tensor]:
    """Return (C,) float64 means over images and pixels of what each layer reads."""
    sums: dict[str, Tensor] = {}
    calls: dict[str, int] = {}
    hooks = []
    for path in sorted(paths):
        layer = model.get_submodule(path)
        channels = -1 if isinstance(layer, nn.Linear) else 1

        def note(
            _layer: nn.Module, given: tuple[Tensor, ...], path: str = path, channels: int = channels
        ) -> None:
            if not given:  # called by keyword
                return
            mean = given[0].double().movedim(channels, -1).flatten(0, -2).mean(dim=0).cpu()
            sums[path] = sums.get(path, torch.zeros_like(mean)) + mean
            calls[path] = calls.get(path, 0) + 1

        hooks.append(layer.register_forward_pre_hook(note))
    try:
        call_quietly(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return {path: total / calls[path] for path, total in sums.items()}


def contribution(weight: Tensor, constants: Tensor, gone: Tensor, groups: int) -> Tensor:
    """Return (out,) what constants at the removed inputs add to each output, far from borders.

    Args:
        weight: (out, in / groups, ...).
        constants: (in,) value of each input.
        gone: (in / groups,) which inputs were removed; the same in every group.
        groups: Of the layer.
    """
    kernel_sums = (
        weight.detach().double().cpu().flatten(2).sum(dim=2)
        if weight.ndim > 2
        else (weight.detach().double().cpu())
    )
    per_group = kernel_sums.view(groups, -1, kernel_sums.size(1))  # (groups, out / groups, in / ..)
    values = torch.where(gone, constants.view(groups, -1), 0.0)
    return torch.einsum("goi,gi->go", per_group, values).flatten()
