"""Pairs of convolutions put where single ones were."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunus.model.blocks import ConvBlock
from prunus.model.detector import Detector
from prunus.model.factors import FactorisedConv, pair_like
from prunus.prune.low_rank.bases import Basis

NOTHING = 1e-12
"""Of the largest: a direction that carries no more is left as it is scaled."""


def with_pairs(detector: Detector, wanted: Mapping[str, tuple[Basis, int]]) -> Detector:
    """Return a copy in which these convolutions are pairs.

    The mean of what is lost goes into the batch norm's running mean, so that the outputs stay where
    they were.

    Args:
        detector: Left as it is.
        wanted: Name of a block's convolution -> the directions of its outputs, and how many of them
            are kept.
    """
    model = copy.deepcopy(detector)
    for name, (basis, rank) in wanted.items():
        block = model.get_submodule(name.rpartition(".")[0])
        assert isinstance(block, ConvBlock) and isinstance(block.conv, nn.Conv2d)
        block.conv, lost = _pair(block.conv, basis, rank)
        if isinstance(block.bn, nn.BatchNorm2d) and block.bn.running_mean is not None:
            block.bn.running_mean -= lost.to(block.bn.running_mean)
    return model


def _pair(conv: nn.Conv2d, basis: Basis, rank: int) -> tuple[FactorisedConv, Tensor]:
    """Return a layer's pair, and (O,) what its outputs lack on average.

    Both layers get weights of like size, channel by channel, so that training moves both.
    """
    weight = conv.weight.detach().double().cpu()
    into, back, mean = basis.into[:rank].cpu(), basis.back[:, :rank].cpu(), basis.mean.cpu()
    narrow = into @ weight.flatten(1)
    sizes = narrow.norm(dim=1)
    told = sizes > NOTHING * sizes.max()
    scale = torch.where(told, (back.norm(dim=0) / sizes).sqrt(), torch.ones_like(sizes))
    pair = pair_like(conv, rank)
    with torch.no_grad():
        pair.narrow.weight.copy_((narrow * scale[:, None]).view(rank, *weight.shape[1:]))
        pair.widen.weight.copy_((back / scale)[..., None, None])
    pair.requires_grad_(conv.weight.requires_grad)
    return pair, mean - back @ (into @ mean)
