"""Pairs of convolutions go into every runtime, in float and in 8 bits."""

from pathlib import Path

import onnx
import pytest
import torch

from prunus.export.backends import BACKENDS
from prunus.export.form import Form
from prunus.export.quantize.collect import noise_share, run_inside
from prunus.export.quantize.onnx import CalibratedOnnx
from prunus.export.run import export
from prunus.model.detector import Detector
from prunus.model.layers import sized_layers
from prunus.prune.low_rank.run import factorise

IMAGES = torch.randint(
    0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(3)
)
WRITES = [name for name, backend in BACKENDS.items() if backend.write is not None]


@pytest.fixture(scope="module")
def pairs(detector: Detector) -> Detector:
    return factorise(detector, rank=0.5, widest=8).model


@pytest.mark.parametrize("format", WRITES)
def test_an_export_holds_parity(format: str, pairs: Detector, tmp_path: Path) -> None:
    path = tmp_path / f"model{BACKENDS[format].suffix}"
    result = export(pairs, path, format, Form((64, 64)), IMAGES)
    assert result.parity.holds
    assert result.parity.boxes > 5, "without boxes the test would be empty"


def test_eight_bits_stay_near_the_float_graph(pairs: Detector, tmp_path: Path) -> None:
    write = BACKENDS["onnx"].write
    assert write is not None
    write(pairs, tmp_path / "m.onnx", Form((64, 64)))
    model = onnx.load(tmp_path / "m.onnx")
    pixels = [image[None].float().div(255).numpy() for image in IMAGES]
    calibrated = CalibratedOnnx(model, pixels, "mse")
    two = sum(name.endswith("/widen/Conv") for name in calibrated.layers)
    assert two > 0
    assert len(calibrated.layers) == 57 + two
    heard = [node.output[0] for node in calibrated.plan.head]
    exact = list(run_inside(model, heard, pixels))
    found = list(run_inside(calibrated.quantize(), heard, pixels))
    assert 0 < noise_share(exact, found) < 0.1


def test_a_runtime_prices_both_and_the_activation_once(pairs: Detector) -> None:
    layers = sized_layers(pairs, torch.zeros(1, 3, 64, 64))
    narrow, inputs, rank = layers["model.7.conv.narrow.weight"]
    widen, again, outputs = layers["model.7.conv.widen.weight"]
    assert (inputs, rank, again, outputs) == (128, 128, 128, 256)
    assert (narrow.activation, widen.activation) == ("", "SiLU")
    assert (narrow.kernel, narrow.stride, widen.kernel, widen.stride) == (
        (3, 3),
        (2, 2),
        (1, 1),
        (1, 1),
    )
