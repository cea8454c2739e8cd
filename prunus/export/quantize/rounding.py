"""Which tensors are rounded to 8 bits: what the chosen nodes read and write, but for one thing.

What a convolution hands to a Relu alone is left unrounded. ONNX Runtime then makes one integer
convolution of the two: its output is unsigned and starts at zero, which is what Relu does. With
steps between them all numbers go to float and back: yolov5n with ReLU took 1.18 times as long at
320 pixels, with 1.7 times the noise at its head. SiLU has no such form: Sigmoid and Mul both
read, so that the convolution would have to write floats, and the whole took 2.2 times as long.
"""

from collections.abc import Mapping

import onnx
from onnx import NodeProto

from prunus.export.quantize.graph import CONV, readers_of

RELU = "Relu"


def rounded_tensors(model: onnx.ModelProto, nodes: Mapping[str, NodeProto]) -> list[str]:
    """Return the names, in the order of the nodes.

    Args:
        model: In float.
        nodes: By name, those that become integers.
    """
    constants = _constants_of(model)
    omitted = constants | _clipped(model, nodes)
    touched = dict.fromkeys(name for node in nodes.values() for name in _ends_of(node))
    return [name for name in touched if name not in omitted]


def _ends_of(node: NodeProto) -> list[str]:
    """Return what a node reads and writes, without its weights and sizes."""
    read = node.input[:1] if node.op_type in (CONV, "Resize") else node.input
    return [*read, *node.output]


def _constants_of(model: onnx.ModelProto) -> set[str]:
    """Return the names of the tensors that no image changes."""
    given = {tensor.name for tensor in model.graph.initializer}
    return given | {
        name for node in model.graph.node if node.op_type == "Constant" for name in node.output
    }


def _clipped(model: onnx.ModelProto, nodes: Mapping[str, NodeProto]) -> set[str]:
    """Return what these convolutions hand to one of these Relus and to nothing else."""
    readers, ends = readers_of(model.graph.node), {end.name for end in model.graph.output}
    found = set()
    for node in nodes.values():
        relus = [read.op_type == RELU and read.name in nodes for read in readers[node.output[0]]]
        if node.op_type == CONV and relus == [True] and node.output[0] not in ends:
            found.add(node.output[0])
    return found
