"""Running somebody's network without leaving a trace in it, and knowing where it is."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

Inputs = Tensor | tuple[Any, ...]
"""What a network is called with: one tensor, or all its positional arguments."""


@dataclass
class Whereabouts:
    """Which module is running.

    Attributes:
        path: Path of the innermost one; after an exception, of the one that raised it.
    """

    path: str = ""


def call_quietly(model: nn.Module, inputs: Inputs) -> object:
    """Run the network in eval mode without gradients; each module's own mode is restored."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            return model(*(inputs if isinstance(inputs, tuple) else (inputs,)))
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def running(model: nn.Module) -> Iterator[Whereabouts]:
    """Follow which module is running.

    The hooks are torch's global ones: the modules' own hooks are not touched.
    """
    names = {module: name for name, module in model.named_modules()}
    now = Whereabouts()
    stack: list[str] = []

    def enter(module: nn.Module, _inputs: object) -> None:
        stack.append(now.path)
        now.path = names.get(module, now.path)

    def leave(_module: nn.Module, _inputs: object, _output: object) -> None:
        now.path = stack.pop()

    hooks = (register_module_forward_pre_hook(enter), register_module_forward_hook(leave))
    try:
        yield now
    finally:
        for hook in hooks:
            hook.remove()


def tensors_in(value: object) -> list[Tensor]:
    """Return the tensors of a nest of sequences, mappings and plain records, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [tensor for item in value.values() for tensor in tensors_in(item)]
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [tensor for item in value for tensor in tensors_in(item)]
    if hasattr(value, "__dataclass_fields__"):
        return tensors_in(vars(value))
    return []
