"""What layers read, seen while a network runs: which channels, between which values."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prunus.model.channels.probe import Inputs, call_quietly
from prunus.prune.readers import Reader

STEADY = 1e-5
"""Relative range within which a value counts as constant: roundings of single precision."""


@dataclass
class Seen:
    """What a layer read, over all places and calls, and how much its outputs varied.

    Attributes:
        low, high: (C,) float64.
        shape: Of the last input, the channels' axis among it.
        axis: Of the channels, from the end.
        spread: Root mean square of the last outputs, each channel less its mean.
    """

    low: Tensor
    high: Tensor
    shape: torch.Size
    axis: int
    spread: float

    def constants(self) -> Tensor:
        return (self.low + self.high) / 2

    def steady(self) -> Tensor:
        size = torch.maximum(self.low.abs(), self.high.abs())
        return self.high - self.low <= STEADY * size.clamp(min=STEADY)


def look(model: nn.Module, readers: Iterable[Reader], inputs: Inputs) -> dict[str, Seen]:
    """Run the network, and return what layers read, in the order in which they first ran."""
    seen: dict[str, Seen] = {}

    def note(path: str, layer: Any, given: tuple[Tensor, ...], output: Tensor) -> None:
        if not given:  # called by keyword
            return
        axis = -1 if isinstance(layer, nn.Linear) else 1 - layer.weight.ndim
        flat = given[0].double().movedim(axis, 0).flatten(1)
        low, high = flat.amin(dim=1).cpu(), flat.amax(dim=1).cpu()
        if path in seen:
            low, high = torch.minimum(low, seen[path].low), torch.maximum(high, seen[path].high)
        out = output.double().movedim(axis, 0).flatten(1)
        spread = float((out - out.mean(dim=1, keepdim=True)).square().mean().sqrt())
        seen[path] = Seen(low, high, given[0].shape, axis, spread)

    def listener(path: str) -> Any:
        return lambda layer, given, output: note(path, layer, given, output)

    paths = dict.fromkeys(reader.path for reader in readers)
    hooks = [model.get_submodule(path).register_forward_hook(listener(path)) for path in paths]
    try:
        call_quietly(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return seen
