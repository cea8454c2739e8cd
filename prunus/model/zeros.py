"""Which weights become zero: the lowest of a layer, of all layers, or all but N of every M.

Weights are those of convolutions and linear layers. A choice is made by scores, such as absolute
weights, and is a mask that is True where a weight goes. Setting weights to zero changes no shape.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from prunus.core.shares import Pattern

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of convolutions and linear layers, by the layer's name, each once.

    Their second dimension are the layer's input channels (those of one group, in a grouped one).
    """
    weights: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, module in model.named_modules():
        if isinstance(module, LAYERS) and id(module.weight) not in seen:
            seen.add(id(module.weight))
            weights[name] = module.weight
    return weights


def lowest(scores: Sequence[Tensor], amount: float) -> list[Tensor]:
    """Choose exactly round(amount * n) of the n scores of all tensors together.

    Args:
        scores: Of any shapes, at least one of them with a score.
        amount: Share, in [0, 1].

    Returns:
        A mask for each tensor, True for what is among the lowest; ties go by position.
    """
    every = torch.cat([score.flatten() for score in scores])
    chosen = torch.zeros_like(every, dtype=torch.bool)
    chosen[every.topk(round(amount * len(every)), largest=False).indices] = True
    parts = torch.split(chosen, [score.numel() for score in scores])
    return [part.view(score.shape) for part, score in zip(parts, scores, strict=True)]


def lowest_of_each(scores: Sequence[Tensor], amount: float) -> list[Tensor]:
    """Choose exactly round(amount * n) of the n scores of each tensor, like `lowest`."""
    return [lowest([score], amount)[0] for score in scores]


def beyond(scores: Tensor, pattern: Pattern) -> Tensor:
    """Choose all but the N highest of every M consecutive input channels.

    Args:
        scores: (out, in, ...) with a multiple of M input channels.
        pattern: N:M.

    Returns:
        (out, in, ...) mask, True for what goes: exactly M - N of every group.
    """
    groups = grouped(scores, pattern.group)
    keep = groups.topk(pattern.kept, dim=-1).indices
    gone = torch.ones_like(groups, dtype=torch.bool).scatter_(-1, keep, False)
    return gone.flatten(-2).movedim(-1, 1)


def grouped(weights: Tensor, size: int) -> Tensor:
    """Return (out, ..., in / size, size): input channels last, in groups of `size`."""
    last = weights.movedim(1, -1)
    return last.reshape(*last.shape[:-1], -1, size)
