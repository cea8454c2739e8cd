"""Graphs in 8 bits: what becomes integers and what never does, and what comes out."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from prunus.core.errors import ExportError
from prunus.export.backends import onnx as backend
from prunus.export.facts import from_metadata
from prunus.export.form import Form
from prunus.export.quantize.collect import collect, noise_share, run_inside
from prunus.export.quantize.graph import plan_of
from prunus.export.quantize.insert import insert, quantize_weight
from prunus.export.quantize.onnx import CalibratedOnnx, quantize_onnx
from prunus.export.quantize.quantizers import QUANTIZERS, find_quantizer
from prunus.export.quantize.ranges import METHODS
from prunus.export.quantize.stem import fold_kernel, fold_stem
from prunus.export.quantize.training_images import CalibrationImages
from prunus.model.detector import Detector

SIDE = 64


def images(count: int = 6, seed: int = 0, side: int = SIDE) -> list[NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (count, 1, 3, side, side))
    return list((pixels / np.float32(255)).astype(np.float32))


@pytest.fixture(scope="module")
def graph(onnx_content: bytes) -> onnx.ModelProto:
    return onnx.load_model_from_string(onnx_content)


@pytest.fixture(scope="module")
def calibrated(graph: onnx.ModelProto) -> CalibratedOnnx:
    return CalibratedOnnx(graph, images(), "mse")


@pytest.fixture(scope="module")
def quantized(calibrated: CalibratedOnnx) -> onnx.ModelProto:
    return calibrated.quantize()


def run(model: onnx.ModelProto, given: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    return [maps[0] for maps in run_inside(model, ["output0"], given)]


def weights_of(model: onnx.ModelProto) -> Mapping[str, NDArray[np.generic]]:
    return {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}


def test_all_but_the_last_three_convolutions_become_integers(
    graph: onnx.ModelProto, quantized: onnx.ModelProto
) -> None:
    plan = plan_of(graph)
    assert [node.name.rsplit("/", 2)[1] for node in plan.head] == ["m.0", "m.1", "m.2"]
    kinds = {name: entry.dtype for name, entry in weights_of(quantized).items()}
    convs = [node for node in quantized.graph.node if node.op_type == "Conv"]
    integer = [conv for conv in convs if conv.input[1].endswith("_dequantized")]
    assert len(convs) - len(integer) == 3
    for conv in integer:
        stored = conv.input[1].removesuffix("_dequantized") + "_quantized"
        assert kinds[stored] == np.int8


def test_nothing_is_rounded_after_the_last_convolutions(quantized: onnx.ModelProto) -> None:
    last = {name for node in plan_after(quantized) for name in node.output}
    after = downstream(quantized, last)
    assert {"Concat", "Sigmoid", "Mul"} <= {node.op_type for node in after}
    assert not {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in after}


def plan_after(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    return [node for node in convs if not node.input[1].endswith("_dequantized")]


def downstream(model: onnx.ModelProto, names: set[str]) -> list[onnx.NodeProto]:
    found = []
    for node in model.graph.node:  # in order, so that one pass will do
        if names & set(node.input):
            found.append(node)
            names = names | set(node.output)
    return found


@pytest.mark.parametrize("method", METHODS)
def test_activations_are_unsigned_and_weights_signed_and_symmetric(
    method: str, graph: onnx.ModelProto
) -> None:
    model = quantize_onnx(graph, images(2), method=method)
    stored = weights_of(model)
    rounded = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert rounded
    assert all(stored[node.input[2]].dtype == np.uint8 for node in rounded)
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in stored:
            assert stored[node.input[0]].dtype in (np.int8, np.int32)
            assert not stored[node.input[2]].any()
            assert stored[node.input[1]].shape == stored[node.input[0]].shape[:1], "per channel"


def test_the_file_is_plain_onnx_that_our_vetting_lets_in(
    graph: onnx.ModelProto, tmp_path: Path
) -> None:
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    facts = from_metadata(metadata, "graph")
    path = tmp_path / "int8.onnx"
    find_quantizer("onnx")(graph, images(2), "mse").save(path, facts, ())
    onnx.checker.check_model(onnx.load(path), full_check=True)
    runner = backend.open(path, device="cpu", threads=1)
    assert runner.facts.precision == "int8"  # type: ignore[attr-defined]
    assert runner.size_hw == (SIDE, SIDE)
    found = runner(torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8))
    assert found.isfinite().all()


def test_it_computes_nearly_what_float_does(
    graph: onnx.ModelProto, quantized: onnx.ModelProto
) -> None:
    held_out = images(3, seed=9)
    share = noise_share(
        [[out] for out in run(graph, held_out)], [[o] for o in run(quantized, held_out)]
    )
    assert 0 < share < 0.02


def test_pixels_are_exact_whatever_was_calibrated_on(graph: onnx.ModelProto) -> None:
    model = quantize_onnx(graph, [0.3 * image for image in images(2)], method="minmax")
    stored = weights_of(model)
    assert stored["images_folded_scale"] == np.float32(1 / 255)
    pixels = (np.arange(3 * SIDE * SIDE) % 256).astype(np.float32).reshape(1, 3, SIDE, SIDE) / 255
    (maps,) = run_inside(model, ["images_folded", "images_folded_dequantized"], [pixels])
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-6)


def test_a_layer_named_float_stays_float_with_its_activation(
    calibrated: CalibratedOnnx,
) -> None:
    layer = calibrated.plan.layers[5]
    assert [calibrated.plan.nodes[name].op_type for name in layer.nodes] == [
        "Conv",
        "Sigmoid",
        "Mul",
    ]
    model = calibrated.quantize([layer.name])
    nodes = {node.name: node for node in model.graph.node}
    conv, sigmoid, mul = (nodes[name] for name in layer.nodes)
    assert conv.input[1] in weights_of(model)
    assert sigmoid.input[0] == conv.output[0]
    assert list(mul.input) == [conv.output[0], sigmoid.output[0]]


def test_with_all_layers_float_nothing_is_rounded(
    calibrated: CalibratedOnnx, graph: onnx.ModelProto
) -> None:
    model = calibrated.quantize(calibrated.layers)
    assert not [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert calibrated.plan.without(()) == calibrated.plan.nodes
    for right, found in zip(run(graph, images(1)), run(model, images(1)), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-3, atol=1e-3)


def test_every_layer_has_its_share_of_the_noise(calibrated: CalibratedOnnx) -> None:
    noise = calibrated.layer_noise()
    assert tuple(noise) == calibrated.layers
    assert all(0 < share < 0.1 for share in noise.values())
    quieter = calibrated.quantize(sorted(noise, key=lambda name: -noise[name])[:40])
    given = images(2, seed=4)
    right = run(calibrated.quantize(calibrated.layers), given)
    shares = [
        noise_share([[r] for r in right], [[f] for f in run(model, given)])
        for model in (calibrated.quantize(), quieter)
    ]
    assert shares[1] < shares[0]


def test_auto_takes_what_disturbs_the_head_least(graph: onnx.ModelProto) -> None:
    found = CalibratedOnnx(graph, images(3))
    assert set(found.noise) == set(METHODS)
    assert found.noise[found.method] == min(found.noise.values())


def test_the_folded_stem_computes_the_same(graph: onnx.ModelProto) -> None:
    folded = fold_stem(graph)
    first = next(node for node in folded.graph.node if node.op_type == "Conv")
    assert weights_of(folded)[first.input[1]].shape == (16, 12, 3, 3)
    for right, found in zip(run(graph, images(2)), run(folded, images(2)), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-3, atol=1e-3)


def test_a_kernel_is_folded_by_row_column_and_channel() -> None:
    kernel = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    np.testing.assert_array_equal(fold_kernel(kernel).ravel(), [0, 4, 1, 5, 2, 6, 3, 7])


def small(conv: dict[str, object], shape: tuple[int, ...] = (4, 3, 3, 3)) -> onnx.ModelProto:
    """Return image → convolution → Relu → convolution."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["images", "w0"], ["a"], "first", **conv),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "w1"], ["output0"], "last"),
    ]
    weights = [
        numpy_helper.from_array(random.normal(size=size).astype(np.float32), name)
        for name, size in (("w0", shape), ("w1", (2, shape[0], 1, 1)))
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, None)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


@pytest.mark.parametrize(
    "conv", [{"pads": [1, 1, 1, 1]}, {"strides": [2, 2], "pads": [1, 1, 1, 1]}]
)
def test_other_stems_are_left_as_they_are(conv: dict[str, object]) -> None:
    model = small(conv)
    assert fold_stem(model) == model


def test_weights_and_biases_by_hand() -> None:
    weight = np.array([[1.27, -0.5], [0.0, 0.0]], dtype=np.float32).reshape(2, 2, 1, 1)
    steps, scales, bias = quantize_weight(weight, np.array([0.2, 3.0], np.float32), 0.1)
    np.testing.assert_array_equal(steps.ravel(), [127, -50, 0, 0])
    assert scales[0] == pytest.approx(0.01)
    assert bias[0] == 200
    assert bias[1] * 0.1 * scales[1] == pytest.approx(3.0)


def test_a_convolution_without_bias_gets_one_of_zero() -> None:
    model = quantize_onnx(small({}), images(2, side=8), method="minmax")
    assert not weights_of(model)["w0_bias_quantized"].any()
    (right,), (found,) = run(small({}), images(1, side=8)), run(model, images(1, side=8))
    assert np.abs(right - found).max() < 0.05 * np.abs(right).max()


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, given: list[NDArray[np.float32]]) -> None:
        self._left: Iterator[NDArray[np.float32]] = iter(given)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self._left, None)
        return None if batch is None else {"images": batch}


def test_ranges_and_results_are_those_of_onnxruntimes_quantizer(tmp_path: Path) -> None:
    model = small({})
    del model.graph.node[1]  # it takes a Relu away before it measures
    model.graph.node[1].input[0] = "a"
    given = images(4, side=8)
    onnx.save(model, tmp_path / "float.onnx")
    quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "theirs.onnx",
        _Reader(given),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=["last"],
    )
    theirs = onnx.load(tmp_path / "theirs.onnx")
    plan = plan_of(model)
    histograms = collect(model, ["images", "a"], given)
    ranges = {name: METHODS["minmax"](histogram) for name, histogram in histograms.items()}
    ours = insert(model, plan.nodes, ranges)
    for name in ("images_scale", "a_scale", "images_zero_point", "a_zero_point"):
        own = name.replace("_zero_point", "_zero")
        np.testing.assert_allclose(weights_of(ours)[own], weights_of(theirs)[name], rtol=1e-5)
    np.testing.assert_array_equal(
        weights_of(ours)["w0_quantized"], weights_of(theirs)["w0_quantized"]
    )
    for right, found in zip(run(theirs, given), run(ours, given), strict=True):
        np.testing.assert_allclose(found, right, atol=1e-5)


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_pruned_detector_is_quantized_like_any_other(
    dynamic: bool, narrow_detector: Detector, tmp_path: Path
) -> None:
    path = tmp_path / "float.onnx"
    backend.write(narrow_detector, path, Form((SIDE, SIDE), dynamic=dynamic))
    model = onnx.load(path)
    quantized = quantize_onnx(model, images(), method="mse")
    side = 96 if dynamic else SIDE
    given = images(2, seed=5, side=side)
    right, found = run(model, given), run(quantized, given)
    assert noise_share([[r] for r in right], [[f] for f in found]) < 0.02


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"method": "mes"}, r"no method 'mes'\. Did you mean 'mse'\?"),
        ({"floating": ["/detector/model.0/conv/Cnv"]}, r"no layer '.*Cnv' can be kept in float"),
    ],
)
def test_unknown_words_are_refused(
    words: dict[str, object], message: str, graph: onnx.ModelProto
) -> None:
    with pytest.raises(ExportError, match=message):
        quantize_onnx(graph, images(1), **{"method": "minmax", **words})  # type: ignore[arg-type]


def test_no_images_and_bad_numbers_are_refused(graph: onnx.ModelProto) -> None:
    with pytest.raises(ExportError, match=r"no calibration images"):
        quantize_onnx(graph, [])
    with pytest.raises(ExportError, match=r"'.*' is not finite on a calibration image"):
        quantize_onnx(graph, [np.full((1, 3, SIDE, SIDE), np.nan, np.float32)])


def test_a_quantized_graph_is_not_quantized_again(quantized: onnx.ModelProto) -> None:
    with pytest.raises(ExportError, match=r"quantized already"):
        quantize_onnx(quantized, images(1))


def test_an_unknown_format_is_refused() -> None:
    assert {"onnx", "openvino"} <= set(QUANTIZERS)
    with pytest.raises(ExportError, match=r"'onx' is not quantized here.*Did you mean 'onnx'\?"):
        find_quantizer("onx")


def test_batches_are_filled_up_from_the_start() -> None:
    bytes_ = torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 3, 2, 2)
    given = CalibrationImages(bytes_.contiguous(), 2)
    for _ in range(2):  # again and again
        batches = list(given)
        assert len(batches) == len(given) == 2
        assert [round(float(batch[1].max() * 255)) for batch in batches] == [1, 0]


def test_nncf_comes_without_telemetry_and_leaves_no_trace_in_the_environment() -> None:
    pytest.importorskip("nncf")
    code = (
        "import os; from prunus.export.quantize.openvino import nncf_package\n"
        "nncf = nncf_package()\n"
        "print(type(nncf.telemetry.wrapper.telemetry).__name__, 'NNCF_CI' in os.environ)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-2:] == ["MagicMock", "False"]


def test_a_bias_fits_into_32_bits_where_there_is_next_to_no_weight() -> None:
    weight, bias = np.full((1, 1, 1, 1), 1e-9, np.float32), np.ones(1, np.float32)
    _, scales, steps = quantize_weight(weight, bias, input_scale=0.01)
    np.testing.assert_allclose(steps * (0.01 * scales.astype(np.float64)), bias, rtol=1e-6)
