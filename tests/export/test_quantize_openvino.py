"""OpenVINO in 8 bits by NNCF: where it rounds, what it computes, and that it keeps quiet."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from prunus.core.errors import ExportError
from prunus.export.backends import openvino as backend
from prunus.export.facts import from_metadata
from prunus.export.quantize.openvino import head_names, quantize_openvino
from prunus.export.quantize.quantizers import QuantizedOpenvino
from prunus.export.quantize.training_images import CalibrationImages

pytest.importorskip("nncf")
openvino = pytest.importorskip("openvino")
ROUNDING = "FakeQuantize"


@pytest.fixture(scope="module")
def graph(onnx_content: bytes) -> onnx.ModelProto:
    return onnx.load_model_from_string(onnx_content)


@pytest.fixture(scope="module")
def given() -> CalibrationImages:
    generator = torch.Generator().manual_seed(0)
    shape = (3, 3, 64, 64)
    return CalibrationImages(
        torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator), 1
    )


@pytest.fixture(scope="module")
def model(graph: onnx.ModelProto) -> Any:
    return openvino.Core().read_model(graph.SerializeToString(), b"")


@pytest.fixture(scope="module")
def quantized(model: Any, given: CalibrationImages) -> Any:
    return quantize_openvino(model, given)


def candidates(model: Any, image: NDArray[np.float32]) -> NDArray[np.float32]:
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found: NDArray[np.float32] = compiled([image])[0]
    return found


def has_rounded_weights(conv: Any) -> bool:
    node = conv.input_value(1).get_node()
    while node.inputs():
        node = node.input_value(0).get_node()
    return bool(node.get_output_element_type(0) == openvino.Type.i8)


def test_the_head_is_found_in_the_graph_and_never_rounded(model: Any, quantized: Any) -> None:
    names = set(head_names(model))
    assert sum(name.endswith("Conv/WithoutBiases") for name in names) == 3
    assert "output0" in names
    inside = [node for node in quantized.get_ops() if node.get_friendly_name() in names]
    assert len(inside) == len(names)
    sources = [source.get_node() for node in inside for source in node.input_values()]
    assert ROUNDING not in {source.get_type_name() for source in sources}
    convs = [node for node in quantized.get_ops() if node.get_type_name() == "Convolution"]
    assert sum(not has_rounded_weights(node) for node in convs) == 3


def test_it_computes_nearly_what_float_does_and_leaves_the_float_graph_alone(
    model: Any, quantized: Any, given: CalibrationImages
) -> None:
    assert not [node for node in model.get_ops() if node.get_type_name() == ROUNDING]
    image = next(iter(given))
    right, found = candidates(model, image), candidates(quantized, image)
    assert 0 < np.square(right - found).sum() / np.square(right).sum() < 0.02


def test_nothing_is_said(
    model: Any, given: CalibrationImages, capfd: pytest.CaptureFixture[str]
) -> None:
    quantize_openvino(model, given)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_files_carry_their_facts_and_layers_named_float_stay_so(
    graph: onnx.ModelProto, given: CalibrationImages, tmp_path: Any
) -> None:
    calibrated = QuantizedOpenvino(graph, given, "auto")
    assert len(calibrated.layers) == 57
    facts = from_metadata({entry.key: entry.value for entry in graph.metadata_props}, "graph")
    path = tmp_path / "int8.xml"
    calibrated.save(path, facts, calibrated.layers[:2])
    runner = backend.open(path, device="cpu", precision="fp32", threads=1)
    assert runner.facts.precision == "int8"  # type: ignore[attr-defined]
    assert runner(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).isfinite().all()
    written = openvino.Core().read_model(path)
    convs = [node for node in written.get_ordered_ops() if node.get_type_name() == "Convolution"]
    assert sum(not has_rounded_weights(node) for node in convs) == 5


def test_what_nncf_does_not_choose_is_refused(
    graph: onnx.ModelProto, model: Any, given: CalibrationImages
) -> None:
    with pytest.raises(ExportError, match=r"--method: NNCF chooses the ranges"):
        QuantizedOpenvino(graph, given, "entropy")
    with pytest.raises(ExportError, match=r"no calibration images"):
        quantize_openvino(model, [])
