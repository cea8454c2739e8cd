"""Fold the first convolution: 6x6 at stride 2 on 3 channels becomes 3x3 at stride 1 on 12.

The same sums, in another order. ONNX Runtime's integer convolution copies each pixel's channels
together, and three at a time is slow: on yolov5n at 640 the first layer alone takes 5.7 of 25 ms,
folded 1.3 and 1.0 for the fold. In float the fold gains nothing (31 ms against 30).
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from prunus.export.quantize.graph import CONV, readers_of

BLOCK = 2
FOLD = "SpaceToDepth"
FEW_CHANNELS = 4


def fold_stem(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model, its first convolution folded where that can be done exactly."""
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    graph = folded.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    image = graph.input[0].name
    readers = readers_of(graph.node)[image]
    if [node.op_type for node in readers] != [CONV] or readers[0].input[1] not in weights:
        return folded
    conv, stored = readers[0], weights[readers[0].input[1]]
    kernel = numpy_helper.to_array(stored)
    if not _can_fold(conv, kernel) or len(readers_of(graph.node)[stored.name]) > 1:
        return folded
    stored.CopyFrom(numpy_helper.from_array(fold_kernel(kernel), stored.name))
    pads = [pad // BLOCK for pad in _attributes(conv)["pads"]]
    del conv.attribute[:]
    sizes = [size // BLOCK for size in kernel.shape[2:]]
    settings = {"kernel_shape": sizes, "strides": [1, 1], "pads": pads}
    conv.attribute.extend(helper.make_attribute(key, value) for key, value in settings.items())
    conv.input[0] = f"{image}_folded"
    fold = helper.make_node(FOLD, [image], [conv.input[0]], name=f"{image}_fold", blocksize=BLOCK)
    nodes = [fold, *(NodeProto.FromString(node.SerializeToString()) for node in graph.node)]
    del graph.node[:]
    graph.node.extend(nodes)
    return folded


def images_of(model: onnx.ModelProto) -> list[str]:
    """Return the names of the tensors that hold pixels: the input, and what folds it."""
    image = model.graph.input[0].name
    folds = [node for node in readers_of(model.graph.node)[image] if node.op_type == FOLD]
    return [image, *(node.output[0] for node in folds)]


def fold_kernel(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (O, 4C, H/2, W/2) for (O, C, H, W), in SpaceToDepth's order: row, column, channel."""
    outputs, channels, height, width = kernel.shape
    split = kernel.reshape(outputs, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    moved = split.transpose(0, 3, 5, 1, 2, 4)  # (O, row, column, C, H/2, W/2)
    return moved.reshape(outputs, -1, height // BLOCK, width // BLOCK)


def _can_fold(conv: NodeProto, kernel: NDArray[np.float32]) -> bool:
    settings = _attributes(conv)
    return (
        kernel.ndim == 4
        and kernel.shape[1] <= FEW_CHANNELS
        and not any(size % BLOCK for size in kernel.shape[2:])
        and settings.get("strides") == [BLOCK, BLOCK]
        and settings.get("dilations", [1, 1]) == [1, 1]
        and settings.get("group", 1) == 1
        and settings.get("auto_pad", b"NOTSET") == b"NOTSET"
        and len(settings.get("pads", [])) == 4
        and not any(pad % BLOCK for pad in settings["pads"])
    )


def _attributes(node: NodeProto) -> dict[str, list[int]]:
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
