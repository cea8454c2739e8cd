"""What a runtime sees of each layer apart from its widths: kernel, input size, activation.

Found in one pass over the network, by hooks. The pass runs on meta tensors where the network can
(shapes alone: no arithmetic, no memory), and on real ones where it cannot.
"""

import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from prunus.model.channels.probe import Inputs, call_quietly, tensors_in

DEPTHWISE = 0
"""`LayerShape.groups` of a convolution with as many groups as input channels, however many."""

ACTIVATIONS = (
    "ReLU",
    "ReLU6",
    "LeakyReLU",
    "SiLU",
    "Hardswish",
    "Hardsigmoid",
    "GELU",
    "Mish",
    "Sigmoid",
    "Tanh",
)
"""Classes that are priced with the layer before them; others count as no activation."""

PASSED_THROUGH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.Identity, nn.Dropout)
"""What may lie between a layer and its activation: runtimes fold it away."""

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
PLAIN = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class LayerShape:
    """One layer as a runtime sees it: all but its widths.

    Attributes:
        kind: "conv", "transposed" or "linear".
        kernel: One number per axis of space; () for a linear layer, as the next three are.
        stride: In pixels.
        padding: Zeros on both sides, in pixels.
        dilation: In pixels.
        groups: 1; or `DEPTHWISE`; or the fixed number of a grouped convolution, whose widths are
            then multiples of it.
        size_hw: Of its input, in pixels, one number per axis; for a linear layer the one number of
            positions that it is applied to, batch included.
        activation: One of `ACTIVATIONS` that follows, through a batch norm too, or "".
        calls: How often one pass through the network runs it on an input of this size.
        batch: Images in one call; 1 for a linear layer.
    """

    kind: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    size_hw: tuple[int, ...]
    activation: str
    calls: int = 1
    batch: int = 1

    def once(self) -> "LayerShape":
        """Return the shape of a single call: what is measured."""
        return replace(self, calls=1)

    def label(self) -> str:
        """Return the shape of a single call as one word: equal words, equal shapes."""
        fields = (self.kernel, self.stride, self.padding, self.dilation, self.size_hw)
        numbers = ["x".join(map(str, field)) or "-" for field in fields]
        return "/".join(
            (self.kind, *numbers, f"g{self.groups}", f"b{self.batch}", self.activation or "none")
        )


SizedLayer = tuple[LayerShape, int, int]
"""A layer with its channels in and out."""


def layer_shapes(model: nn.Module, inputs: Inputs) -> dict[str, LayerShape]:
    """Return the shape of each convolution and linear layer that runs, by its weight's name.

    A layer called on inputs of several sizes has one entry per size: the first under its weight's
    name, the others under `name@HxW`. Activations that are functions, not modules, are not seen.

    Args:
        model: Any network; left as it is found.
        inputs: One tensor, or all positional arguments, at the size that is asked for. Their
            values do not matter where the network runs on meta tensors.
    """
    try:
        return _recorded(model, inputs, meta=True)
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return _recorded(model, inputs, meta=False)  # its path depends on values


def sized_layers(model: nn.Module, inputs: Inputs) -> dict[str, SizedLayer]:
    """Return the shapes of `layer_shapes`, each with its channels in and out as they are now."""
    tensors = dict(model.named_parameters(remove_duplicate=False))
    sized = {}
    for name, shape in layer_shapes(model, inputs).items():
        first, second = tensors[name.partition("@")[0]].shape[:2]
        if shape.groups == DEPTHWISE:
            sized[name] = (shape, first, first)
        elif shape.kind == "transposed":
            sized[name] = (shape, first, second * shape.groups)
        else:
            sized[name] = (shape, second * shape.groups, first)
    return sized


class _Watch:
    """What the hooks have seen so far."""

    def __init__(self) -> None:
        self.shapes: dict[str, LayerShape] = {}
        self._waiting: dict[int, tuple[weakref.ref[Tensor], str]] = {}

    def layer(self, name: str, shape: LayerShape, output: Tensor) -> None:
        """Note a layer's call, and wait for what follows it."""
        known = self.shapes.get(name)
        if known is not None and known.size_hw != shape.size_hw:
            name = f"{name}@{'x'.join(map(str, shape.size_hw))}"
            known = self.shapes.get(name)
        if known is not None:
            shape = replace(known, calls=known.calls + 1)
        self.shapes[name] = shape
        self._waiting[id(output)] = (weakref.ref(output), name)

    def other(self, module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        """Note a module that may be what a layer waits for."""
        if not (inputs and isinstance(inputs[0], Tensor)):
            return
        entry = self._waiting.pop(id(inputs[0]), None)
        if entry is None or entry[0]() is not inputs[0]:
            return
        if isinstance(module, PASSED_THROUGH) and isinstance(output, Tensor):
            self._waiting[id(output)] = (weakref.ref(output), entry[1])
        else:
            found = type(module).__name__.removesuffix("Activation")
            if found in ACTIVATIONS:
                self.shapes[entry[1]] = replace(self.shapes[entry[1]], activation=found)


def _recorded(model: nn.Module, inputs: Inputs, *, meta: bool) -> dict[str, LayerShape]:
    watch = _Watch()
    with _watching(model, watch):
        if meta:
            call_quietly(_OnMeta(model), _on_meta(inputs))
        else:
            call_quietly(model, inputs)
    return watch.shapes


@contextmanager
def _watching(model: nn.Module, watch: _Watch) -> Iterator[None]:
    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
            tensors = tensors_in(output)
            if isinstance(module, (*PLAIN, *TRANSPOSED, nn.Linear)) and inputs and tensors:
                watch.layer(f"{name}.weight", _shape(module, inputs[0]), tensors[0])
            elif not any(True for _ in module.children()):
                watch.other(module, inputs, output)

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in model.named_modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _shape(module: nn.Module, x: Tensor) -> LayerShape:
    """Return the shape of a layer called on `x`, without its activation."""
    if isinstance(module, nn.Linear):
        positions = math.prod(x.shape[:-1])
        return LayerShape("linear", (), (), (), (), 1, (positions,), "")
    assert isinstance(module, (*PLAIN, *TRANSPOSED))
    space = len(module.kernel_size)
    depthwise = module.groups > 1 and module.groups == module.in_channels
    return LayerShape(
        "transposed" if isinstance(module, TRANSPOSED) else "conv",
        tuple(module.kernel_size),
        tuple(module.stride),
        _padding(module),
        tuple(module.dilation),
        DEPTHWISE if depthwise else module.groups,
        tuple(x.shape[-space:]),
        "",
        batch=x.shape[0] if x.dim() == space + 2 else 1,
    )


def _padding(module: nn.Module) -> tuple[int, ...]:
    padding = module.padding
    if isinstance(padding, str):
        kernels, dilations = module.kernel_size, module.dilation
        assert isinstance(kernels, tuple) and isinstance(dilations, tuple)
        reach = [d * (k - 1) // 2 for k, d in zip(kernels, dilations, strict=True)]
        return tuple(0 for _ in reach) if padding == "valid" else tuple(reach)
    assert isinstance(padding, tuple)
    return padding


class _OnMeta(nn.Module):
    """A network called with its tensors' shapes alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: object) -> object:
        tensors = {
            name: torch.empty_like(tensor, device="meta")
            for name, tensor in [*self.model.named_parameters(), *self.model.named_buffers()]
        }
        return functional_call(self.model, tensors, inputs)


def _on_meta(inputs: Inputs) -> Inputs:
    if isinstance(inputs, Tensor):
        return inputs.to("meta")
    return tuple(item.to("meta") if isinstance(item, Tensor) else item for item in inputs)
