"""ONNX files compute what torch does, whatever the widths, the batch and the size."""

import copy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from prunus.core.errors import ExportError
from prunus.export.backends import onnx as backend
from prunus.export.engine_runner import EngineRunner
from prunus.export.facts import Origin
from prunus.export.form import Form
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.runner import TorchRunner

SIZE = (96, 128)


def random_images(count: int, size_hw: tuple[int, int] = SIZE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, *size_hw), dtype=torch.uint8, generator=generator)


def in_torch(detector: Detector) -> TorchRunner:
    return TorchRunner(fuse(detector), torch.device("cpu"), "fp32")


@pytest.mark.parametrize("kind", ["detector", "narrow_detector"])
@pytest.mark.parametrize(("batch", "dynamic"), [(1, False), (2, False), (1, True)])
def test_the_file_computes_what_torch_does(
    kind: str, batch: int, dynamic: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    detector = request.getfixturevalue(kind)
    path = tmp_path / "model.onnx"
    backend.write(detector, path, Form(SIZE, batch=batch, dynamic=dynamic))
    runner = backend.open(path, device="cpu", threads=1)
    images = random_images(batch)

    torch.testing.assert_close(runner(images), in_torch(detector)(images), rtol=1e-4, atol=1e-3)
    assert (runner.size_hw, runner.batch) == ((None, None) if dynamic else (SIZE, batch))


def test_a_dynamic_file_takes_any_batch_and_multiple_of_the_stride(
    detector: Detector, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    backend.write(detector, path, Form(SIZE, dynamic=True))
    runner = backend.open(path, device="cpu", threads=1)
    for count, size_hw in ((1, (64, 64)), (3, (160, 96))):
        images = random_images(count, size_hw)
        expected = in_torch(detector)(images)
        torch.testing.assert_close(runner(images), expected, rtol=1e-4, atol=1e-3)


def test_other_tools_read_the_same_boxes_from_images_in_0_to_1(
    detector: Detector, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    backend.write(detector, path, Form(SIZE))
    images = random_images(1)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["output0"], {"images": images.numpy().astype(np.float32) / 255})
    torch.testing.assert_close(
        torch.from_numpy(found), in_torch(detector)(images), rtol=1e-4, atol=1e-3
    )
    assert session.get_modelmeta().custom_metadata_map["stride"] == "32"


def test_the_file_is_valid_onnx_of_the_opset_asked_for_and_names_no_folder(
    detector: Detector, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    backend.write(detector, path, Form(SIZE, opset=15, dynamic=True))
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.version for entry in model.opset_import] == [15]
    assert [dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim] == [0, 0, 8]
    assert str(Path(__file__).parents[2]).encode() not in path.read_bytes()


def test_the_detector_is_left_as_it_was(detector: Detector, tmp_path: Path) -> None:
    detector = copy.deepcopy(detector).train()
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    backend.write(detector, tmp_path / "model.onnx", Form(SIZE))
    assert detector.training
    for name, tensor in detector.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_facts_come_back_as_they_were_written(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    backend.write(detector, path, Form(SIZE, batch=2), Origin("ab" * 32, "Apache-2.0"))
    runner = backend.open(path, device="cpu")
    assert isinstance(runner, EngineRunner)
    assert runner.names == detector.names
    assert runner.stride == 32
    facts = runner.facts
    assert (facts.size_hw, facts.batch) == (SIZE, 2)
    assert (facts.parent_sha256, facts.licence) == ("ab" * 32, "Apache-2.0")
    assert facts.family == "yolov5"
    assert facts.anchors_px[0] == ((10, 13), (16, 30), (33, 23))
    assert facts.letterbox.pad_value == 114


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 96, 128), r"model.onnx: takes batches of 1 only, got 2\. .*--dynamic"),
        ((1, 3, 128, 128), r"model.onnx: takes 96x128 pixels only, got 128x128\."),
    ],
)
def test_a_static_file_refuses_other_inputs(
    shape: tuple[int, ...], message: str, detector: Detector, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    backend.write(detector, path, Form(SIZE))
    runner = backend.open(path, device="cpu")
    with pytest.raises(ExportError, match=message):
        runner(torch.zeros(shape, dtype=torch.uint8))


def test_a_dynamic_file_refuses_sides_that_do_not_divide(
    detector: Detector, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    backend.write(detector, path, Form(SIZE, dynamic=True))
    runner = backend.open(path, device="cpu")
    with pytest.raises(ExportError, match=r"multiples of 32, got 90x128\. Try 96x128\."):
        runner(torch.zeros(1, 3, 90, 128, dtype=torch.uint8))


def test_sizes_and_opsets_that_cannot_be_are_refused(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(ExportError, match=r"multiples of 32, got 100x128\. Try 128x128\."):
        backend.write(detector, path, Form((100, 128)))
    with pytest.raises(ExportError, match="opset must lie in 12 to 20, got 99"):
        backend.write(detector, path, Form(SIZE, opset=99))
    assert list(tmp_path.iterdir()) == []


def test_precision_and_device_that_the_file_cannot_have_are_refused(
    detector: Detector, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    backend.write(detector, path, Form(SIZE))
    with pytest.raises(ExportError, match=r"computes in fp32, not in bf16"):
        backend.open(path, precision="bf16")
