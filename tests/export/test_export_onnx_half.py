"""Weights of half precision in an ONNX file, on a graph by hand."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from prunus.export.onnx_half import halve_

WEIGHT = np.array([[1.0, 1 / 3, 65504.0], [0.1, -2.0, 6e-8]], np.float32)


def model() -> onnx.ModelProto:
    """(2, 3) weights times x, laid flat by a shape of whole numbers."""
    nodes = [
        helper.make_node("Mul", ["x", "weight"], ["product"]),
        helper.make_node("Reshape", ["product", "shape"], ["y"]),
    ]
    weights = [
        numpy_helper.from_array(WEIGHT, "weight"),
        numpy_helper.from_array(np.array([-1], np.int64), "shape"),
    ]
    ends = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in (("x", [2, 3]), ("y", [6])))  # fmt: skip
    graph = helper.make_graph(nodes, "graph", [next(ends)], [next(ends)], weights)
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_weights_are_rounded_and_whole_numbers_stay() -> None:
    halved = model()
    halve_(halved)
    onnx.checker.check_model(halved, full_check=True)
    kinds = {tensor.name: tensor.data_type for tensor in halved.graph.initializer}
    assert kinds == {"weight.half": TensorProto.FLOAT16, "shape": TensorProto.INT64}
    session = onnxruntime.InferenceSession(halved.SerializeToString())
    (found,) = session.run(None, {"x": np.ones((2, 3), np.float32)})
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, WEIGHT.astype(np.float16).astype(np.float32).ravel())
