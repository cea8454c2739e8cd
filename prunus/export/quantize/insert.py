"""Put QuantizeLinear and DequantizeLinear around what becomes integers (QDQ).

Activations unsigned, one scale a tensor; weights signed and symmetric, one scale a channel; biases
32 bits. Both signed is never written: on x86 it is slower than float. All operators are of the
standard domain, so every reader of ONNX takes the file.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from prunus.export.quantize.graph import CONV
from prunus.export.quantize.ranges import Range, scale_and_zero
from prunus.export.quantize.rounding import rounded_tensors

WEIGHT_LEVEL = 127
"""-128 is left out, so that the scale is symmetric."""
LARGEST_BIAS = 2**30
"""Half of what 32 bits hold: the sum of products is added to it."""


def insert(
    model: onnx.ModelProto, nodes: Mapping[str, NodeProto], ranges: Mapping[str, Range]
) -> onnx.ModelProto:
    """Return a copy whose `nodes` compute in integers.

    Args:
        model: In float.
        nodes: By name.
        ranges: Of all `rounded_tensors`.
    """
    quantized = onnx.ModelProto()
    quantized.CopyFrom(model)
    rewriting = _Rewriting(quantized, nodes, ranges)
    graph = quantized.graph
    written = [NodeProto.FromString(node.SerializeToString()) for node in rewriting.nodes()]
    read = {name for node in written for name in node.input}
    kept = [TensorProto.FromString(tensor.SerializeToString()) for tensor in graph.initializer]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(written)
    graph.initializer.extend(tensor for tensor in kept if tensor.name in read)
    graph.initializer.extend(rewriting.stored)
    return quantized


def quantize_weight(
    weight: NDArray[np.float32], bias: NDArray[np.float32], input_scale: float
) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.int32]]:
    """Return the weight, its scales and the bias in integers.

    Args:
        weight: (O, I, H, W).
        bias: (O,).
        input_scale: Step of what the convolution reads; the bias counts in steps of both scales.

    Returns:
        (O, I, H, W), (O,) and (O,). A channel of next to no weight gets a scale that its bias fits.
    """
    peaks = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    scales = np.maximum(peaks / WEIGHT_LEVEL, np.abs(bias) / (LARGEST_BIAS * input_scale))
    scales = np.where(scales > 0, scales, 1).astype(np.float32)
    steps = np.round(weight / scales.reshape(-1, *[1] * (weight.ndim - 1)))
    steps = steps.clip(-WEIGHT_LEVEL, WEIGHT_LEVEL).astype(np.int8)
    bias_steps = np.round(bias / (np.float64(input_scale) * scales)).astype(np.int32)
    return steps, scales, bias_steps


class _Rewriting:
    """The nodes of one graph, rewritten; and the tensors that they need besides.

    Attributes:
        stored: Scales, zeros and integer weights.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        nodes: Mapping[str, NodeProto],
        ranges: Mapping[str, Range],
    ) -> None:
        self.stored: list[TensorProto] = []
        self._graph, self._chosen, self._ranges = model.graph, nodes, ranges
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._rounded = frozenset(rounded_tensors(model, nodes))

    def nodes(self) -> Iterator[NodeProto]:
        """Yield all nodes in order."""
        for end in self._graph.input:
            yield from self._pair(end.name)
        for node in self._graph.node:
            if node.name in self._chosen and node.op_type == CONV:
                yield from self._integer_weights(node)
            for place, name in enumerate(node.input):
                if name in self._rounded:
                    node.input[place] = f"{name}_dequantized"
            yield node
            for name in node.output:
                yield from self._pair(name)

    def _pair(self, tensor: str) -> Iterator[NodeProto]:
        if tensor not in self._rounded:
            return
        scale, zero = scale_and_zero(self._ranges[tensor])
        parameters = self._store(tensor, np.float32(scale), np.uint8(zero))
        steps = f"{tensor}_quantized"
        yield helper.make_node("QuantizeLinear", [tensor, *parameters], [steps], f"{tensor}_q")
        yield _dequantize(tensor, [steps, *parameters])

    def _integer_weights(self, conv: NodeProto) -> Iterator[NodeProto]:
        """Yield what gives a convolution its weight and bias, and let it read them."""
        name = conv.input[1]
        weight = numpy_helper.to_array(self._weights[name])
        bias = np.zeros(len(weight), np.float32)
        if len(conv.input) > 2:
            bias = numpy_helper.to_array(self._weights[conv.input[2]])
        scale, _ = scale_and_zero(self._ranges[conv.input[0]])
        steps, scales, bias_steps = quantize_weight(weight, bias, scale)
        parts = (
            (name, steps, scales),
            (f"{name}_bias", bias_steps, (np.float64(scale) * scales).astype(np.float32)),
        )
        del conv.input[1:]
        for label, integers, part_scales in parts:
            stored = f"{label}_quantized"
            self.stored.append(numpy_helper.from_array(integers, stored))
            zeros = np.zeros(len(integers), integers.dtype)
            yield _dequantize(label, [stored, *self._store(label, part_scales, zeros)], axis=0)
            conv.input.append(f"{label}_dequantized")

    def _store(self, label: str, scale: object, zero: object) -> list[str]:
        names = [f"{label}_scale", f"{label}_zero"]
        for name, value in zip(names, (scale, zero), strict=True):
            self.stored.append(numpy_helper.from_array(np.asarray(value), name))
        return names


def _dequantize(label: str, inputs: Sequence[str], **attributes: Any) -> NodeProto:
    return helper.make_node(
        "DequantizeLinear", inputs, [f"{label}_dequantized"], f"{label}_dq", **attributes
    )
