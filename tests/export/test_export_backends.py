"""The contract that every row of BACKENDS keeps. A new runtime is tested by adding its row."""

from pathlib import Path

import pytest
import torch

from prunus.core.errors import ExportError
from prunus.core.records import Runner
from prunus.export.backends import BACKENDS, Backend, find_backend, find_writer, open_runner
from prunus.export.facts import Origin
from prunus.export.form import Form
from prunus.export.parity import check_parity
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.runner import TorchRunner
from prunus.weights.native import save_weights

every_backend = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS.keys())
SIZE = (64, 96)


def written(backend: Backend, detector: Detector, folder: Path) -> Path:
    path = folder / f"model{backend.suffix}"
    if backend.write is None:
        save_weights(detector, path)
    else:
        backend.write(detector, path, Form(SIZE), Origin("00", "none"))
    return path


@every_backend
def test_a_written_file_opens_by_its_suffix_and_agrees_with_torch(
    backend: Backend, detector: Detector, tmp_path: Path
) -> None:
    path = written(backend, detector, tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(backend.files(path)), "nothing left over"
    runner = open_runner(path, device="cpu", precision="fp32", threads=1)
    reference = TorchRunner(fuse(detector), torch.device("cpu"), "fp32")
    images = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8)
    assert check_parity(reference, runner, images).holds


@every_backend
def test_a_runner_says_what_it_takes(backend: Backend, detector: Detector, tmp_path: Path) -> None:
    runner: Runner = open_runner(written(backend, detector, tmp_path), device="cpu")
    assert runner.names == detector.names
    assert runner.stride == detector.stride
    assert runner.size_hw in (None, SIZE)
    assert runner.batch in (None, 1)
    candidates = runner(torch.zeros(1, 3, *SIZE, dtype=torch.uint8))
    assert candidates.dtype == torch.float32
    assert candidates.shape == (1, 3 * (8 * 12 + 4 * 6 + 2 * 3), 5 + len(detector.names))


@every_backend
def test_suffixes_belong_to_one_backend_only(backend: Backend) -> None:
    for suffix in (backend.suffix, *backend.other_suffixes):
        assert find_backend(Path(f"x{suffix}")) is backend
        assert find_backend(Path(f"x{suffix.upper()}")) is backend


def test_unknown_suffixes_and_missing_files_are_told() -> None:
    with pytest.raises(ExportError, match=r"m\.engine: no runtime opens '\.engine' .*\.onnx"):
        open_runner(Path("m.engine"))
    with pytest.raises(ExportError, match=r"absent\.onnx: no such file"):
        open_runner(Path("absent.onnx"))


def test_formats_that_cannot_be_written_are_told() -> None:
    with pytest.raises(ExportError, match=r"'onx' is no format: .* Did you mean 'onnx'\?"):
        find_writer("onx")
    with pytest.raises(ExportError, match="'torch' opens the weights file itself"):
        find_writer("torch")
