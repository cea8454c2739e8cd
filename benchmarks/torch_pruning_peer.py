"""Torch-Pruning (MIT) at its best on a detector: global, one shot, no rounding, head named."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prunus.model.cost import count_flops
from prunus.model.detector import Detector
from prunus.prune.comparison import call_in, difference
from prunus.prune.detectors import probe

INSTALL = "torch-pruning is missing. Install it: pip install 'prunus[benchmarks]'"
TRIES, TOLERANCE = 14, 0.005
"""Of the search for the ratio; the tolerance is a share of the FLOPs asked for."""


def torch_pruning() -> Any:
    try:
        import torch_pruning as peer
    except ImportError:
        raise SystemExit(INSTALL) from None
    return peer


def peer_pruner(network: Detector, criterion: str, ratio: float, image: Tensor) -> Any:
    """Return the peer's pruner, with all that it needs to be told."""
    peer = torch_pruning()
    importances: dict[str, Callable[[], Any]] = {
        "taylor": peer.importance.GroupTaylorImportance,
        "fpgm": peer.importance.FPGMImportance,
        "l1": lambda: peer.importance.GroupMagnitudeImportance(p=1),
    }
    return peer.pruner.BasePruner(
        network,
        image,
        importance=importances[criterion](),
        global_pruning=True,
        pruning_ratio=ratio,
        ignored_layers=list(network.head.m),
        # Mutable defaults of the peer leak from one pruner to the next.
        in_channel_groups={},
        out_channel_groups={},
        num_heads={},
    )


def cut_by_peer(
    dense: Detector, criterion: str, kept: float, gradients: Mapping[str, Tensor]
) -> tuple[Detector, float]:
    """Bisect the peer's ratio; return the cut network nearest to the share, and its error."""
    low, high = 0.0, 1.0
    best: tuple[float, float] = (float("inf"), 0.0)
    flops = count_flops(dense)
    for _ in range(TRIES):
        ratio = (low + high) / 2
        share = count_flops(cut_once(dense, criterion, ratio, gradients)[0]) / flops
        best = min(best, (abs(share / kept - 1), ratio))
        if best[0] < TOLERANCE / 2:
            break
        low, high = (ratio, high) if share > kept else (low, ratio)
    network, masked = cut_once(dense, criterion, best[1], gradients)
    noise = probe(dense)
    outputs = [
        call_in(torch.float64, copy.deepcopy(one), noise) for one in (network, masked.eval())
    ]
    return network.requires_grad_(False), difference(*outputs)


def cut_once(
    dense: Detector, criterion: str, ratio: float, gradients: Mapping[str, Tensor]
) -> tuple[Detector, Detector]:
    """Return what the peer cuts, and the dense one with the same channels' batch norms at zero."""
    network = copy.deepcopy(dense).eval().requires_grad_(True)
    for name, parameter in network.named_parameters():
        parameter.grad = gradients[name].clone() if name in gradients else None
    masked = copy.deepcopy(dense)
    norms = {
        module: name
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    for group in peer_pruner(network, criterion, ratio, probe(dense)).step(interactive=True):
        for dependency, positions in group:
            if dependency.target.module in norms:
                norm = masked.get_submodule(norms[dependency.target.module])
                with torch.no_grad():
                    norm.weight[positions] = norm.bias[positions] = 0.0  # type: ignore[operator]
        group.prune()
    return network, masked
