"""What is rounded and what is not: between a convolution and its Relu nothing is."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from prunus.export.backends import onnx as backend
from prunus.export.form import Form
from prunus.export.quantize.collect import noise_share, run_inside
from prunus.export.quantize.graph import plan_of
from prunus.export.quantize.insert import insert
from prunus.export.quantize.onnx import quantize_onnx
from prunus.export.quantize.rounding import rounded_tensors
from prunus.model.detector import Detector
from prunus.model.swap import with_activation

SIDE = 64
Images = list[NDArray[np.float32]]


def images(count: int, side: int = SIDE, seed: int = 0) -> Images:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 1, 3, side, side))
    return list((pixels / np.float32(255)).astype(np.float32))


def small(activation: str = "Relu") -> onnx.ModelProto:
    """Return image → convolution → activation → convolution; the first's weights are exact."""
    random = np.random.default_rng(0)
    first = random.integers(-127, 128, (4, 3, 1, 1)).astype(np.float32) / 128
    first[:, 0] = 127 / 128  # so that a step is 1 / 128
    second = random.normal(size=(2, 4, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["images", "w0"], ["a"], "first"),
        helper.make_node(activation, ["a"], ["b"], "activation"),
        helper.make_node("Conv", ["b", "w1"], ["output0"], "last"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(first, "w0"), numpy_helper.from_array(second, "w1")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


@pytest.fixture(scope="module")
def relu_graph(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    path = tmp_path_factory.mktemp("relu") / "float.onnx"
    backend.write(with_activation(detector, "relu"), path, Form((SIDE, SIDE)))
    return onnx.load(path)


def as_run(model: onnx.ModelProto, path: Path) -> list[str]:
    """Return the operators that ONNX Runtime makes of a graph."""
    settings = onnxruntime.SessionOptions()
    settings.optimized_model_filepath = str(path)
    settings.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), settings, ["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(path).graph.node]


def test_a_convolution_and_its_relu_become_one_integer_operator(
    relu_graph: onnx.ModelProto, tmp_path: Path
) -> None:
    layers = plan_of(relu_graph).layers
    operators = as_run(quantize_onnx(relu_graph, images(2), method="minmax"), tmp_path / "run.onnx")
    assert operators.count("QLinearConv") == len(layers) == 57
    assert "Relu" not in operators
    assert operators.count("QuantizeLinear") == 1, "the images, and nothing on the way"


def test_a_detector_with_relu_computes_nearly_what_float_does(relu_graph: onnx.ModelProto) -> None:
    model = quantize_onnx(relu_graph, images(6), method="mse")
    given = images(3, seed=9)
    right, found = (run_inside(entry, ["output0"], given) for entry in (relu_graph, model))
    assert 0 < noise_share(list(right), found) < 0.01


def test_the_output_of_relu_is_off_by_half_a_step_at_most() -> None:
    model, given = small(), images(3, side=8)
    quantized = quantize_onnx(model, given, method="minmax")
    stored = {entry.name: numpy_helper.to_array(entry) for entry in quantized.graph.initializer}
    right, found = run_inside(model, ["b"], given), run_inside(quantized, ["b_dequantized"], given)
    off = np.abs(np.array(list(right)) - np.array(list(found))).max()
    assert 0.4 < off / stored["b_scale"] < 0.501


def test_only_what_relu_alone_reads_is_left_out() -> None:
    def rounded(model: onnx.ModelProto) -> list[str]:
        return rounded_tensors(model, plan_of(model).nodes)

    assert rounded(small()) == ["images", "b"]
    assert rounded(small("Sigmoid")) == ["images", "a", "b"]
    shown = small()
    shown.graph.output.append(helper.make_empty_tensor_value_info("a"))
    assert rounded(shown) == ["images", "a", "b"]
    twice = small()
    twice.graph.node.insert(2, helper.make_node("Add", ["a", "b"], ["c"], "sum"))
    twice.graph.node[3].input[0] = "c"
    assert rounded(twice) == ["images", "a", "b", "c"]


def test_a_relu_that_stays_float_reads_rounded_numbers() -> None:
    model = small()
    nodes = {"first": model.graph.node[0]}
    assert rounded_tensors(model, nodes) == ["images", "a"]
    quantized = insert(model, nodes, {"images": (0, 1), "a": (-1, 1)})
    relu = next(node for node in quantized.graph.node if node.op_type == "Relu")
    assert relu.input[0] == "a_dequantized"
