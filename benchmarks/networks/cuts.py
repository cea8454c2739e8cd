"""Random weights that matter, random cuts, and how far a cut network is from the dense one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from prunus.model.channels.table import ChannelTable


def enliven_(network: nn.Module) -> nn.Module:
    """Give every parameter and statistic values that change the outputs, in place.

    A fresh network has scales of 1, offsets of 0 and layers of small weights: what a wrong cut
    changes there could drown.
    """
    random = torch.Generator().manual_seed(1)

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=random, dtype=like.dtype)

    for parameter in network.parameters():
        data = parameter.data
        if data.ndim > 1 and data[0].numel() > 1 and float(data.std()) < 0.05:
            parameter.data = noise(data) / data[0].numel() ** 0.5
        elif data.ndim <= 1 or float(data.abs().max()) < 0.05:
            parameter.data = data + 0.25 * noise(data)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(0.2 * noise(buffer))
        elif name.endswith("running_var"):
            buffer.copy_(0.5 + 0.5 * noise(buffer).abs())
    return network


def random_share(share: float, seed: int = 0) -> Callable[[ChannelTable], Tensor]:
    """Return a choice of this share of every free group, never all of it."""

    def choose(table: ChannelTable) -> Tensor:
        random = torch.Generator().manual_seed(seed)
        picked = [torch.zeros(0, dtype=torch.int64)]
        for group in table.free_groups:
            count = min(max(round(share * len(group)), 1), len(group) - 1)
            picked.append(group.tags[torch.randperm(len(group), generator=random)[:count]])
        return torch.cat(picked)

    return choose


def parameters_of(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def widths_disagree(network: nn.Module) -> list[str]:
    """Return the modules whose remembered sizes are not those of their tensors."""
    return [
        name or "the network"
        for name, module in network.named_modules()
        if any(value != expected for value, expected in _sizes(module))
    ]


def _sizes(module: Any) -> list[tuple[int, int]]:
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        rows, columns = module.weight.shape[:2]
        return [(module.out_channels, rows), (module.in_channels, columns * module.groups)]
    if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        rows, columns = module.weight.shape[:2]
        return [(module.in_channels, rows), (module.out_channels, columns * module.groups)]
    if isinstance(module, nn.Linear):
        return [
            (module.out_features, len(module.weight)),
            (module.in_features, module.weight.size(1)),
        ]
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
        return (
            [(module.num_features, len(module.running_var))]
            if module.running_var is not None
            else []
        )
    if isinstance(module, nn.GroupNorm) and module.weight is not None:
        return [(module.num_channels, len(module.weight))]
    if isinstance(module, nn.PReLU):
        return [(module.num_parameters, len(module.weight))]
    return []
