"""Small ONNX graphs: one layer at several widths, each a branch of its own.

A branch begins with a feed, which writes the layer's input as the layer before it would: just
before, and in the layout that the runtime likes. It ends in a mean over space, which keeps any
layout and gives little to write. What lies between is the price. Where the network goes on after
the layer, so does the branch after its mean, with one product; neither is priced.

Nodes are named `feed<number>`, `layer<number>` and `layer<number>.mean`, so that a runtime's
profile can be read; activations that ONNX Runtime takes apart by itself are written in parts, or
their parts would have no names.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from prunus.export.latency.lanes import FEWEST_FED
from prunus.model.layers import DEPTHWISE, LayerShape

OPSET = 20
"""The first with a GELU of its own."""
IR_VERSION = 9
WEIGHT_SCALE = 0.1
SOURCE_CHANNELS = 16

Nodes = list[onnx.NodeProto]


def feed_name(number: int) -> str:
    return f"feed{number:05d}"


def branch_name(number: int) -> str:
    """Return the name that a branch's nodes begin with; no name is the beginning of another."""
    return f"layer{number:05d}"


def mean_name(number: int) -> str:
    return f"{branch_name(number)}.mean"


def build(
    shape: LayerShape, points: Sequence[tuple[int, int]], *, goes_on: bool = False
) -> tuple[bytes, dict[str, NDArray[np.float32]]]:
    """Return a serialised model with one branch per (channels in, out), and what to feed it.

    Args:
        shape: Of the layer.
        points: Its channels in and out, per branch.
        goes_on: Whether a product follows each mean. OpenVINO leaves in float32 what comes after
            the last product, and so a layer that nothing follows would write float32.
    """
    random = np.random.default_rng(0)
    sources: dict[str, NDArray[np.float32]] = {}
    nodes: Nodes = []
    weights: list[onnx.TensorProto] = []
    ends = []
    for number, (inputs, outputs) in enumerate(points):
        name, feed = branch_name(number), feed_name(number)
        fed = _is_fed(shape, inputs)
        source = SOURCE_CHANNELS if fed else inputs
        sources[f"x{source}"] = random.random(_input_size(shape, source), dtype=np.float32)
        arrays = _arrays(shape, inputs, outputs, random)
        if fed:
            arrays["feed"] = random.random((inputs, source, 1, 1), dtype=np.float32)
        weights += [numpy_helper.from_array(a, f"{name}.{k}") for k, a in arrays.items()]
        nodes.append(_feed(number, f"x{source}", f"{name}.feed" if fed else ""))
        nodes += _layer(shape, feed, name, inputs)
        nodes += _ACTIVATIONS[shape.activation](f"{name}.raw", f"{name}.out", name)
        nodes.append(_mean(shape, f"{name}.out", mean_name(number)))
        ends.append(f"{name}.next" if goes_on else mean_name(number))
        if goes_on:
            weights.append(_next_weight(shape, outputs, f"{name}.next.weight"))
            nodes.append(_next(shape, mean_name(number), f"{name}.next"))
    return _model(nodes, sources, weights, ends).SerializeToString(), sources


def _feed(number: int, source: str, weight: str) -> onnx.NodeProto:
    """Return what writes a branch's input; no two are equal, or they would be made one."""
    name = feed_name(number)
    if weight:
        return helper.make_node("Conv", [source, weight], [name], name=name)
    return helper.make_node("LeakyRelu", [source], [name], name=name, alpha=1 / (number + 2))


def _model(
    nodes: Nodes,
    sources: dict[str, NDArray[np.float32]],
    weights: list[onnx.TensorProto],
    ends: Sequence[str],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, a.shape) for k, a in sources.items()],
        [helper.make_tensor_value_info(end, TensorProto.FLOAT, None) for end in ends],
        weights,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _is_fed(shape: LayerShape, inputs: int) -> bool:
    """Return whether a convolution in a blocked layout may write the input."""
    return shape.kind != "linear" and len(shape.kernel) == 2 and inputs >= FEWEST_FED


def _input_size(shape: LayerShape, inputs: int) -> tuple[int, ...]:
    if shape.kind == "linear":
        return (*shape.size_hw, inputs)
    return (shape.batch, inputs, *shape.size_hw)


def _arrays(
    shape: LayerShape, inputs: int, outputs: int, random: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    groups = inputs if shape.groups == DEPTHWISE else shape.groups
    sizes = {
        "linear": (inputs, outputs),
        "conv": (outputs, inputs // groups, *shape.kernel),
        "transposed": (inputs, outputs // groups, *shape.kernel),
    }
    weight = random.standard_normal(sizes[shape.kind], dtype=np.float32)
    return {"weight": WEIGHT_SCALE * weight, "bias": np.zeros(outputs, np.float32)}


def _layer(shape: LayerShape, source: str, name: str, inputs: int) -> Nodes:
    ends = [source, f"{name}.weight", f"{name}.bias"], [f"{name}.raw"]
    if shape.kind == "linear":
        return [helper.make_node("Gemm", *ends, name=name)]
    return [
        helper.make_node(
            "Conv" if shape.kind == "conv" else "ConvTranspose",
            *ends,
            name=name,
            kernel_shape=shape.kernel,
            strides=shape.stride,
            pads=shape.padding * 2,
            dilations=shape.dilation,
            group=inputs if shape.groups == DEPTHWISE else shape.groups,
        )
    ]


def _mean(shape: LayerShape, source: str, target: str) -> onnx.NodeProto:
    if shape.kind == "linear":
        return helper.make_node("ReduceMax", [source], [target], name=target, keepdims=1)
    return helper.make_node("GlobalAveragePool", [source], [target], name=target)


def _next(shape: LayerShape, source: str, target: str) -> onnx.NodeProto:
    """Return a product of the mean: that of all numbers, or of each channel's."""
    kind = "Gemm" if shape.kind == "linear" else "Conv"
    return helper.make_node(kind, [source, f"{target}.weight"], [target], name=target)


def _next_weight(shape: LayerShape, outputs: int, name: str) -> onnx.TensorProto:
    size = (1, 1) if shape.kind == "linear" else (1, outputs, *(1 for _ in shape.kernel))
    return numpy_helper.from_array(np.full(size, WEIGHT_SCALE, np.float32), name)


def _one(operator: str, **attributes: Any) -> Callable[[str, str, str], Nodes]:
    def nodes(source: str, target: str, name: str) -> Nodes:
        node = helper.make_node(operator, [source], [target], name=f"{name}.act", **attributes)
        return [node]

    return nodes


def _silu(source: str, target: str, name: str) -> Nodes:
    return [
        helper.make_node("Sigmoid", [source], [f"{name}.gate"], name=f"{name}.sigmoid"),
        helper.make_node("Mul", [source, f"{name}.gate"], [target], name=f"{name}.act"),
    ]


def _hardswish(source: str, target: str, name: str) -> Nodes:
    return [
        helper.make_node(
            "HardSigmoid", [source], [f"{name}.gate"], name=f"{name}.gate", alpha=1 / 6, beta=0.5
        ),
        helper.make_node("Mul", [source, f"{name}.gate"], [target], name=f"{name}.act"),
    ]


def _mish(source: str, target: str, name: str) -> Nodes:
    return [
        helper.make_node("Softplus", [source], [f"{name}.soft"], name=f"{name}.softplus"),
        helper.make_node("Tanh", [f"{name}.soft"], [f"{name}.gate"], name=f"{name}.tanh"),
        helper.make_node("Mul", [source, f"{name}.gate"], [target], name=f"{name}.act"),
    ]


def _relu6(source: str, target: str, name: str) -> Nodes:
    return [
        helper.make_node("Constant", [], [f"{name}.zero"], value_float=0.0),
        helper.make_node("Constant", [], [f"{name}.six"], value_float=6.0),
        helper.make_node(
            "Clip", [source, f"{name}.zero", f"{name}.six"], [target], name=f"{name}.act"
        ),
    ]


_ACTIVATIONS: dict[str, Callable[[str, str, str], Nodes]] = {
    "": _one("Identity"),
    "ReLU": _one("Relu"),
    "ReLU6": _relu6,
    "LeakyReLU": _one("LeakyRelu", alpha=0.01),
    "SiLU": _silu,
    "Hardswish": _hardswish,
    "Hardsigmoid": _one("HardSigmoid", alpha=1 / 6, beta=0.5),
    "GELU": _one("Gelu"),
    "Mish": _mish,
    "Sigmoid": _one("Sigmoid"),
    "Tanh": _one("Tanh"),
}
