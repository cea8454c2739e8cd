"""What was set to zero, by layer, and what the zeros are good for."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from prunus.core.shares import Pattern
from prunus.model.nm import PatternCheck, check_nm, speed_note


@dataclass(frozen=True)
class LayerSparsity:
    """One layer: how many weights it has, and how many of them are zero."""

    name: str
    weights: int
    zeros: int

    @property
    def share(self) -> float:
        return self.zeros / self.weights


@dataclass(frozen=True)
class Sparsity:
    """What is zero.

    Attributes:
        layers: Every convolution and linear layer.
        parameters: Parameters of the whole network, batch norms and biases included.
        parameter_zeros: Zeros among them.
        pattern: The N:M that was asked for, if any.
        checks: How each layer fulfils it; empty without a pattern.
    """

    layers: tuple[LayerSparsity, ...]
    parameters: int
    parameter_zeros: int
    pattern: Pattern | None = None
    checks: tuple[PatternCheck, ...] = ()

    @property
    def share(self) -> float:
        """Return the share of zeros among the layers' weights."""
        return sum(layer.zeros for layer in self.layers) / sum(
            layer.weights for layer in self.layers
        )

    @property
    def left_dense(self) -> tuple[PatternCheck, ...]:
        """Return the layers that cannot have the pattern, with the reason."""
        return tuple(check for check in self.checks if check.reason)

    def summary(self) -> str:
        """Return one line, which says what the zeros are not good for."""
        dense = ", ".join(f"{check.layer} ({check.reason})" for check in self.left_dense)
        return (
            f"{self.share:.1%} of the weights of {len(self.layers)} layers are zero "
            f"({self.parameter_zeros / self.parameters:.1%} of all parameters)"
            + (f"; left dense: {dense}. " if dense else ". ")
            + speed_note(self.pattern)
        )


def report(model: nn.Module, weights: Mapping[str, Tensor], pattern: Pattern | None) -> Sparsity:
    """Count the zeros of a network.

    Args:
        model: The network.
        weights: Those of its layers, by the layer's name.
        pattern: N:M to check the layers against.
    """
    parameters = list(model.parameters())
    return Sparsity(
        tuple(LayerSparsity(name, w.numel(), _zeros(w)) for name, w in weights.items()),
        sum(parameter.numel() for parameter in parameters),
        sum(_zeros(parameter) for parameter in parameters),
        pattern,
        () if pattern is None else check_nm(model, *pattern),
    )


def _zeros(tensor: Tensor) -> int:
    return int((tensor == 0).sum())
