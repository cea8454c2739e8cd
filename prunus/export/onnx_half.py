"""ONNX files with weights of half precision."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def halve_(model: onnx.ModelProto) -> None:
    """Store float32 weights as float16, widened again by a Cast each: every runtime folds these.

    What is computed, and how fast, stays; only the weights are rounded.
    """
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(
            helper.make_node("Cast", [tensor.name], [name], f"{name}.widened", to=TensorProto.FLOAT)
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
