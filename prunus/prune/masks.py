"""Unstructured sparsity: the smallest weights of convolutions become zero, in place.

What official YOLOv5 calls pruning (specification sheet yolov5, 2.6). Shapes stay, so that dense
runtimes gain no speed; what shrinks is the compressed file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class LayerSparsity:
    """One convolution: how many weights it has, and how many of them are zero."""

    name: str
    weights: int
    zeros: int

    @property
    def share(self) -> float:
        return self.zeros / self.weights


@dataclass(frozen=True)
class Sparsity:
    """What was set to zero.

    Attributes:
        layers: Every convolution.
        parameters: Parameters of the whole network, batch norms and biases included.
        parameter_zeros: Zeros among them.
    """

    layers: tuple[LayerSparsity, ...]
    parameters: int
    parameter_zeros: int

    @property
    def share(self) -> float:
        """Return the share of zeros among the convolutions' weights."""
        return sum(layer.zeros for layer in self.layers) / sum(
            layer.weights for layer in self.layers
        )

    def summary(self) -> str:
        """Return one line, which says what the zeros are not good for."""
        return (
            f"{self.share:.1%} of the weights of {len(self.layers)} convolutions are zero "
            f"({self.parameter_zeros / self.parameters:.1%} of all parameters). The shapes are "
            "unchanged: dense runtimes gain no speed. For a faster model use `prunus prune`."
        )


def sparsify(
    model: nn.Module, amount: float, *, scope: Literal["layer", "global"] = "layer"
) -> Sparsity:
    """Set the smallest weights of the convolutions to zero, in place.

    To match official figures, fuse the batch norms into the convolutions beforehand.

    Args:
        model: Any network.
        amount: Share of the weights, in (0, 1).
        scope: "layer": this share of each convolution; "global": of all together, so that layers
            of small weights lose more.

    Raises:
        PruningError: `amount` is no share, or the network has no convolution.
    """
    if not 0 < amount < 1:
        raise PruningError(f"amount: must lie between 0 and 1, got {amount}. 0.3 zeroes 30 %.")
    weights = {
        name: module.weight.data
        for name, module in model.named_modules()
        if isinstance(module, CONVOLUTIONS)
    }
    if not weights:
        raise PruningError("there is no convolution whose weights could be set to zero.")
    if scope == "layer":
        for weight in weights.values():
            _zero_smallest_([weight], amount)
    else:
        _zero_smallest_(list(weights.values()), amount)
    return _report(model, weights)


def _zero_smallest_(weights: list[Tensor], amount: float) -> None:
    """Set exactly round(amount * n) of the n weights to zero; ties go by position."""
    sizes = torch.cat([weight.abs().flatten() for weight in weights])
    smallest = sizes.topk(round(amount * len(sizes)), largest=False).indices
    keep = torch.ones_like(sizes)
    keep[smallest] = 0
    start = 0
    for weight in weights:
        weight.mul_(keep[start : start + weight.numel()].view_as(weight))
        start += weight.numel()


def _report(model: nn.Module, weights: Mapping[str, Tensor]) -> Sparsity:
    layers = tuple(
        LayerSparsity(name, weight.numel(), _zeros(weight)) for name, weight in weights.items()
    )
    parameters = list(model.parameters())
    return Sparsity(
        layers,
        sum(parameter.numel() for parameter in parameters),
        sum(_zeros(parameter) for parameter in parameters),
    )


def _zeros(tensor: Tensor) -> int:
    return int((tensor == 0).sum())
