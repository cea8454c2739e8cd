"""What of an ONNX detector becomes integers: all up to the last convolutions, nothing after them.

After them lies the head's arithmetic. Its concat holds pixels (0 to 640) and probabilities (0 to 1)
side by side: in one 8-bit scale every probability becomes zero, and with it every detection. The
last convolutions themselves stay in float too: a tenth of the work, and no output to be rounded.
Nothing is found by its name, since names are the exporter's and change with it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import onnx
from onnx import NodeProto

from prunus.core.errors import ExportError

CONV = "Conv"
QUANTIZED = (CONV, "Sigmoid", "Mul", "Add", "Concat", "MaxPool", "Resize", "Relu", "LeakyRelu")
"""Operators that ONNX Runtime computes in integers. All of them: in yolov5n convolutions alone are
slower than float, since every activation then goes back and forth."""
ACTIVATIONS = ("Sigmoid", "Mul", "Relu", "LeakyRelu")
MARKS = ("QuantizeLinear", "DequantizeLinear", "QLinearConv")


@dataclass(frozen=True)
class Layer:
    """A convolution with the activation that reads nothing else.

    Attributes:
        name: Of the convolution's node.
        nodes: Names of all its nodes, in order.
        output: The tensor that leaves it.
    """

    name: str
    nodes: tuple[str, ...]
    output: str


@dataclass(frozen=True)
class Plan:
    """What of a graph may become integers.

    Attributes:
        nodes: By name, in the graph's order, those that may.
        layers: The convolutions among them with their activations, in order.
        head: The last convolutions, which stay in float with all that follows.
    """

    nodes: Mapping[str, NodeProto]
    layers: tuple[Layer, ...]
    head: tuple[NodeProto, ...]

    def without(self, floating: Collection[str]) -> dict[str, NodeProto]:
        """Return the nodes that become integers when the layers of these names do not.

        What lies between layers (Add, Concat, MaxPool, Resize) does where an integer layer reads
        it: for a float one it would be rounded in vain.
        """
        layer_of = {node: layer.name for layer in self.layers for node in layer.nodes}
        chosen: dict[str, NodeProto] = {}
        read: set[str] = set()
        for name, node in reversed(list(self.nodes.items())):
            wanted = not read.isdisjoint(node.output)
            if layer_of[name] not in floating if name in layer_of else wanted:
                chosen[name] = node
                read.update(node.input)
        return dict(reversed(list(chosen.items())))


def plan_of(model: onnx.ModelProto) -> Plan:
    """Find what may become integers.

    Raises:
        ExportError: The graph is quantized already, has nodes without names of their own, or no
            convolution before the last ones.
    """
    nodes = list(model.graph.node)
    if any(node.op_type in MARKS for node in nodes):
        raise ExportError("the graph is quantized already. Give the float one.")
    if len({node.name for node in nodes}) < len(nodes):
        raise ExportError("the graph's nodes have no names of their own. Export the weights again.")
    readers = readers_of(nodes)
    convs = [node for node in nodes if node.op_type == CONV]
    head = tuple(node for node in convs if not _leads_to_conv(node, readers))
    after = {name for node in head for name in _downstream(node.output, readers)}
    after.update(node.name for node in head)
    reached = _downstream([end.name for end in model.graph.input], readers)
    chosen = {
        node.name: node
        for node in nodes
        if node.op_type in QUANTIZED and node.name in reached and node.name not in after
    }
    layers = tuple(_layer(node, readers) for node in chosen.values() if node.op_type == CONV)
    if not layers:
        raise ExportError("the graph has no convolution that could be quantized.")
    return Plan(chosen, layers, head)


def readers_of(nodes: Iterable[NodeProto]) -> dict[str, list[NodeProto]]:
    """Return who reads each tensor."""
    found: dict[str, list[NodeProto]] = defaultdict(list)
    for node in nodes:
        for name in dict.fromkeys(node.input):
            found[name].append(node)
    return found


def _downstream(
    tensors: Iterable[str], readers: Mapping[str, list[NodeProto]]
) -> dict[str, NodeProto]:
    """Return, by name, all nodes that depend on these tensors."""
    found: dict[str, NodeProto] = {}
    waiting = [node for name in tensors for node in readers.get(name, ())]
    while waiting:
        node = waiting.pop()
        if node.name not in found:
            found[node.name] = node
            waiting += [reader for name in node.output for reader in readers.get(name, ())]
    return found


def _leads_to_conv(node: NodeProto, readers: Mapping[str, list[NodeProto]]) -> bool:
    return any(other.op_type == CONV for other in _downstream(node.output, readers).values())


def _layer(conv: NodeProto, readers: Mapping[str, list[NodeProto]]) -> Layer:
    """Take in the activation: what reads nothing but this convolution, step by step."""
    nodes, own = [conv.name], [conv.output[0]]
    for tensor in own:  # grows on the way
        for node in readers.get(tensor, ()):
            reads_own = all(name in own for name in node.input)
            if node.op_type in ACTIVATIONS and reads_own and node.name not in nodes:
                nodes.append(node.name)
                own.append(node.output[0])
    return Layer(conv.name, tuple(nodes), own[-1])
