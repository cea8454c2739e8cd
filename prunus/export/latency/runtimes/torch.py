"""Layers in eager torch: the module, then its activation in place, as in a fused network.

All is as `prunus.model.runner` has it: channels last, and in bfloat16 the weights are cast in each
call. The input is written just before each call: in a network it comes hot from the layer before.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from prunus.core.device import autocast
from prunus.export.benchmark import torch_threads
from prunus.export.latency.lanes import FEWEST_FED, Lane, rounded_up
from prunus.export.latency.timing import clock_for
from prunus.model.layers import DEPTHWISE, LayerShape

CONVOLUTIONS: dict[str, tuple[Any, ...]] = {
    "conv": (nn.Conv1d, nn.Conv2d, nn.Conv3d),
    "transposed": (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
}
WARMUP = 1
CPU = torch.device("cpu")
IMAGES = 4
"""Dimensions of what a two-dimensional convolution reads."""


def version() -> str:
    return str(torch.__version__)


def lane(shape: LayerShape, inputs: int, outputs: int, vector: int) -> Lane:
    """Return where a pair is priced: oneDNN blocks channels, except where it is one product.

    Measured, 64 -> n at 40x40: 3x3 goes in steps of a vector, 1x1 and linear layers do not.
    """
    if shape.groups == DEPTHWISE:
        return Lane("depthwise", 1, rounded_up(outputs, vector))
    if shape.kind == "linear" or set(shape.kernel) == {1}:
        return Lane("product", inputs, outputs)
    if inputs < vector:
        return Lane("few", inputs, rounded_up(outputs, vector))
    return Lane("blocked", rounded_up(inputs, vector), rounded_up(outputs, vector))


def time_layers(
    shape: LayerShape,
    points: Sequence[tuple[int, int]],
    *,
    threads: int,
    rounds: int,
    precision: str,
) -> list[list[float]]:
    """Time a layer at several widths; see `runtimes.TimeLayers`.

    Args:
        shape: Of the layer.
        points: Its channels in and out.
        threads: To compute with.
        rounds: Calls.
        precision: fp32 or bf16.
    """
    inputs = {width: _input(shape, width, precision) for width, _ in points}
    calls = [(_module(shape, *point), inputs[point[0]]) for point in points]
    clock = clock_for(threads)
    times_ms: list[list[float]] = [[] for _ in points]
    with torch_threads(threads), torch.inference_mode(), autocast(CPU, precision):
        for number in range(-WARMUP, rounds):
            for (module, x), times in zip(calls, times_ms, strict=True):
                x.mul_(1.0)
                start = clock()
                module(x)
                if number >= 0:
                    times.append((clock() - start) * 1e3)
    return times_ms


def _input(shape: LayerShape, inputs: int, precision: str) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    size = (
        (*shape.size_hw, inputs)
        if shape.kind == "linear"
        else (shape.batch, inputs, *shape.size_hw)
    )
    half = precision == "bf16" and inputs >= FEWEST_FED
    x = torch.rand(size, generator=generator).to(torch.bfloat16 if half else torch.float32)
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == IMAGES else x


def _module(shape: LayerShape, inputs: int, outputs: int) -> nn.Module:
    layer: nn.Module
    if shape.kind == "linear":
        layer = nn.Linear(inputs, outputs)
    else:
        build = CONVOLUTIONS[shape.kind][len(shape.kernel) - 1]
        layer = build(
            inputs,
            outputs,
            shape.kernel,
            shape.stride,
            shape.padding,
            dilation=shape.dilation,
            groups=inputs if shape.groups == DEPTHWISE else shape.groups,
        )
    if len(shape.kernel) == IMAGES - 2:
        layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not shape.activation:
        return layer.eval()
    activation: nn.Module = getattr(nn, shape.activation)()
    if hasattr(activation, "inplace"):
        setattr(activation, "inplace", True)  # noqa: B010  an attribute of some classes only
    return nn.Sequential(layer, activation).eval()
