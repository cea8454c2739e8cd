"""The table of methods: how weights are ranked; the lowest become zero.

A new method is a function here that scores weights, and its line in METHODS.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor

from prunus.core.errors import PruningError, suggest

Method = Callable[[Tensor, Generator], Tensor]
"""Weights and a source of randomness in, scores of the same shape out."""


def _l1(weight: Tensor, _: Generator) -> Tensor:
    return weight.abs()


def _random(weight: Tensor, generator: Generator) -> Tensor:
    """Draw on the CPU, so that a seed chooses the same weights on any device."""
    return torch.rand(weight.shape, generator=generator).to(weight.device)


METHODS: Mapping[str, Method] = {"l1": _l1, "random": _random}


def find_method(name: str) -> Method:
    """Return a method by its name.

    Raises:
        PruningError: There is none of that name.
    """
    if name not in METHODS:
        raise PruningError(
            f"method: no method '{name}'.{suggest(name, METHODS)} Give one of {', '.join(METHODS)}."
        )
    return METHODS[name]
