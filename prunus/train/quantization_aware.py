"""Training that feels INT8: convolutions compute with rounded weights and inputs.

Rounded as the exported file will be: weights to 8 bits, symmetric, a scale for each output channel
(a batch norm that is folded in later scales whole channels, so it changes nothing); inputs to 8
bits, from the smallest to the largest value of the batch. Gradients pass the rounding as if it were
not there (Jacob et al., "Quantization and Training of Neural Networks", CVPR 2018,
arXiv:1712.05877). Nothing is added to the network's state: what is saved is an ordinary detector.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

WEIGHT_STEPS, INPUT_STEPS = 127, 255


class RoundedConv2d(nn.Conv2d):
    """`nn.Conv2d` that computes as in 8 bits while training, and as ever otherwise."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        weight = rounded_weights(self.weight)
        output: Tensor = self._conv_forward(rounded_inputs(input), weight, self.bias)
        return output


def feel_quantization_(module: nn.Module, exact: Iterable[nn.Module] = ()) -> None:
    """Let the convolutions of a network compute as in 8 bits while it trains.

    Parameters and buffers stay the same objects.

    Args:
        module: The network.
        exact: Those that the file will keep in float: of a detector the last ones.
    """
    kept = set(exact)
    for child in module.modules():
        if type(child) is nn.Conv2d and child not in kept:
            child.__class__ = RoundedConv2d


def rounded_weights(weight: Tensor) -> Tensor:
    """Return (O, ...) weights as 8 bits hold them, of the same type; gradients pass."""
    exact = weight.detach().float()
    scale = exact.flatten(1).abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
    scale = (scale / WEIGHT_STEPS).view(-1, *[1] * (weight.ndim - 1))
    return _passing(weight, (exact / scale).round() * scale)


def rounded_inputs(inputs: Tensor) -> Tensor:
    """Return a batch as 8 bits hold it, zero exactly, of the same type; gradients pass."""
    exact = inputs.detach().float()
    low, high = torch.aminmax(exact)
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = ((high - low) / INPUT_STEPS).clamp(min=torch.finfo(torch.float32).tiny)
    zero = (-low / scale).round()
    return _passing(inputs, ((exact / scale).round().clamp(-zero, INPUT_STEPS - zero)) * scale)


def _passing(exact: Tensor, rounded: Tensor) -> Tensor:
    """Return the rounded values with the gradient of the exact ones."""
    return exact + (rounded.to(exact.dtype) - exact.detach())
