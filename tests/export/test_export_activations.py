"""Every activation goes into every runtime, and computes there what torch does."""

from pathlib import Path

import onnx
import pytest
import torch

from prunus.export.backends import BACKENDS
from prunus.export.form import Form
from prunus.export.quantize.collect import noise_share, run_inside
from prunus.export.quantize.onnx import CalibratedOnnx
from prunus.export.run import export
from prunus.model.activations import ACTIVATIONS
from prunus.model.detector import Detector
from prunus.model.swap import with_activation

IMAGES = torch.randint(
    0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(3)
)
WRITES = [name for name, backend in BACKENDS.items() if backend.write is not None]
OPERATORS = {"silu": "Sigmoid", "relu": "Relu", "hardswish": "HardSwish", "leaky_relu": "LeakyRelu"}


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "silu"])
@pytest.mark.parametrize("format", WRITES)
def test_an_export_holds_parity(name: str, format: str, detector: Detector, tmp_path: Path) -> None:
    other = with_activation(detector, name)
    path = tmp_path / f"model{BACKENDS[format].suffix}"
    result = export(other, path, format, Form((64, 64)), IMAGES)
    assert result.parity.holds
    assert result.parity.boxes > 5, "without boxes the test would be empty"


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_onnx_file_has_one_operator_a_block(
    name: str, detector: Detector, tmp_path: Path
) -> None:
    write = BACKENDS["onnx"].write
    assert write is not None
    write(with_activation(detector, name), tmp_path / "m.onnx", Form((64, 64)))
    kinds = [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]
    heads = 3 if name == "silu" else 0  # decoding has a sigmoid a level
    assert kinds.count(OPERATORS[name]) == 57 + heads


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "silu"])
def test_eight_bits_stay_near_the_float_graph(
    name: str, detector: Detector, tmp_path: Path
) -> None:
    write = BACKENDS["onnx"].write
    assert write is not None
    write(with_activation(detector, name), tmp_path / "m.onnx", Form((64, 64)))
    model = onnx.load(tmp_path / "m.onnx")
    pixels = [image[None].float().div(255).numpy() for image in IMAGES]
    calibrated = CalibratedOnnx(model, pixels, "mse")
    assert len(calibrated.layers) == 57, "all but the head's convolutions"
    heard = [node.output[0] for node in calibrated.plan.head]
    exact = list(run_inside(model, heard, pixels))
    found = list(run_inside(calibrated.quantize(), heard, pixels))
    assert 0 < noise_share(exact, found) < 0.1
