"""Running somebody's network without leaving a trace in it, and knowing where it is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

Inputs = Tensor | tuple[Any, ...] | Mapping[str, Any]
"""What a network is called with: one tensor, all its positional arguments, or all its keyword
arguments by name."""
Listener = Callable[[str, object], None]
"""(path of the module that has just run, what it returned)."""


@dataclass
class Whereabouts:
    """Which module is running.

    Attributes:
        path: Path of the innermost one; after an exception, of the one that raised it.
    """

    path: str = ""


def call_quietly(model: nn.Module, inputs: Inputs) -> object:
    """Run the network in eval mode without gradients; each module's own mode is restored.

    The fused kernels of nn.MultiheadAttention and nn.TransformerEncoderLayer are left out: they
    are one operation that hides what it does to channels.
    """
    modes = {module: module.training for module in model.modules()}
    fused = torch.backends.mha.get_fastpath_enabled()
    model.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            if isinstance(inputs, Mapping):
                return model(**inputs)
            return model(*(inputs if isinstance(inputs, tuple) else (inputs,)))
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def running(model: nn.Module, listener: Listener | None = None) -> Iterator[Whereabouts]:
    """Follow which module is running.

    The hooks are torch's global ones: the modules' own hooks are not touched.

    Args:
        model: Whose modules.
        listener: Told of each module that has run, the innermost ones first.
    """
    names = {module: name for name, module in model.named_modules()}
    now = Whereabouts()
    stack: list[str] = []

    def enter(module: nn.Module, _inputs: object) -> None:
        stack.append(now.path)
        now.path = names.get(module, now.path)

    def leave(module: nn.Module, _inputs: object, output: object) -> None:
        if listener is not None and module in names:
            listener(now.path, output)
        now.path = stack.pop()

    hooks = (register_module_forward_pre_hook(enter), register_module_forward_hook(leave))
    try:
        yield now
    finally:
        for hook in hooks:
            hook.remove()


def tensors_in(value: object) -> list[Tensor]:
    """Return the tensors of a nest of sequences, mappings and records, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [tensor for item in value.values() for tensor in tensors_in(item)]
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [tensor for item in value for tensor in tensors_in(item)]
    if is_dataclass(value) and not isinstance(value, type):
        items = (getattr(value, field.name, None) for field in fields(value))
        return [tensor for item in items for tensor in tensors_in(item)]
    return []


def map_tensors(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """Return the inputs with every tensor in them changed; what holds them is copied."""
    changed: Inputs = _mapped(inputs, change)
    return changed


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _mapped(item, change) for name, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_mapped(item, change) for item in value)
    return value
