"""Engines, here and in a process of their own: the same numbers, and a crash harms nobody else."""

import os
import resource
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from prunus.core.errors import ExportError
from prunus.export.backends import BACKENDS, open_runner
from prunus.export.backends import onnx as backend
from prunus.export.engines import EngineError, Options, child, start_engine
from prunus.export.engines.child import ChildEngine
from prunus.export.engines.shared import SharedArray, nameless_file
from prunus.export.form import Form
from prunus.model.detector import Detector

OPTIONS = Options(threads=1)
DESCRIPTORS = Path("/proc/self/fd")
CRASHING = """
import os
from prunus.export.engines import EngineError
def start(content, options):
    if content[0] == b"at start":
        os.abort()
    def run(images):
        if content[0] == b"in a call":
            os.abort()
        if content[0] == b"too large":
            bytearray(1 << 62)
        if content[0] == b"too much":
            return [bytearray(1 << 28) for _ in range(64)]
        if content[0] == b"hang":
            import time; time.sleep(60)
        if content[0] == b"exit":
            os._exit(7)
        print("chatter")
        return images.astype("float32")
    return run
"""


@pytest.fixture
def crashing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of an engine that does what its file says, in the process of a worker."""
    package = tmp_path / "prunus_crash_test.py"
    package.write_text(CRASHING)
    hook = tmp_path / "sitecustomize.py"
    hook.write_text("import prunus.export.engines as e; e.ENGINES['crash'] = 'prunus_crash_test'\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return "crash"


def test_a_child_computes_what_this_process_does(onnx_content: bytes) -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64), dtype=np.uint8)
    here = start_engine("onnx", [onnx_content], OPTIONS)
    there = ChildEngine("onnx", [onnx_content], OPTIONS)
    for flipped in (images, images[..., ::-1], images):
        assert np.array_equal(here(flipped), there(flipped))
    assert there.own_ms > 0 and there.wall_ms > 0
    assert 10_000_000 < there.peak_bytes < _peak_of_this_process(), "it loads no torch"


def _peak_of_this_process() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_results_of_a_child_are_ones_own(crashing: str) -> None:
    engine = ChildEngine(crashing, [b"fine"], OPTIONS)
    first = engine(np.full((2, 3), 1, np.uint8))
    larger = engine(np.full((200, 300), 2, np.uint8))
    second = engine(np.full((2, 3), 3, np.uint8))
    assert (first == 1).all() and (larger == 2).all() and (second == 3).all()
    assert larger.shape == (200, 300)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"in a call", r"the runtime crashed on it \(SIGABRT\)"),
        (b"exit", r"the runtime crashed on it \(exit code 7\)"),
        (b"too large", "needs more memory than there is"),
    ],
)
def test_a_crash_in_a_call_is_one_line_here(crashing: str, content: bytes, reason: str) -> None:
    engine = ChildEngine(crashing, [content], OPTIONS)
    with pytest.raises(EngineError, match=reason):
        engine(np.zeros((1, 1), np.uint8))
    with pytest.raises(EngineError, match=r"crashed|memory"):  # and stays one
        engine(np.zeros((1, 1), np.uint8))


def test_a_crash_at_the_start_is_one_line_here(crashing: str) -> None:
    with pytest.raises(EngineError, match=r"crashed on it \(SIGABRT\); nothing else was harmed"):
        ChildEngine(crashing, [b"at start"], OPTIONS)


def test_memory_of_a_child_is_bounded(crashing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_machine_bytes", lambda: 1 << 31)
    engine = ChildEngine(crashing, [b"too much"], OPTIONS)
    with pytest.raises(EngineError, match="needs more memory than there is"):
        engine(np.zeros((1, 1), np.uint8))


def test_a_child_that_hangs_is_stopped(crashing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "RUN_S", 0.5)
    engine = ChildEngine(crashing, [b"hang"], OPTIONS)
    with pytest.raises(EngineError, match="did not answer in 0 s and was stopped"):
        engine(np.zeros((1, 1), np.uint8))
    assert engine._process.wait() == -signal.SIGKILL


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="shows open files on Linux only")
def test_a_child_ends_with_its_engine(onnx_content: bytes) -> None:
    engine = ChildEngine("onnx", [onnx_content], OPTIONS)
    process = engine._process
    before = len(list(DESCRIPTORS.iterdir()))
    del engine
    assert process.wait(timeout=10) is not None
    assert len(list(DESCRIPTORS.iterdir())) < before


def test_a_refusal_comes_back_as_it_was_said() -> None:
    for start in (start_engine, ChildEngine):
        with pytest.raises(EngineError, match="ONNX Runtime refuses it: "):
            start("onnx", [b"no model"], OPTIONS)


def test_files_of_others_run_in_a_child_and_our_own_here(
    detector: Detector, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    backend.write(detector, path, Form((64, 64)))
    assert isinstance(open_runner(path, device="cpu").engine, ChildEngine)  # type: ignore[attr-defined]
    own = BACKENDS["onnx"].open(path, device="cpu")
    assert not isinstance(own.engine, ChildEngine)  # type: ignore[attr-defined]


def test_a_crash_names_the_file(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    backend.write(detector, path, Form((64, 64)))
    runner = open_runner(path, device="cpu")
    runner.engine._process.kill()  # type: ignore[attr-defined]
    with pytest.raises(ExportError, match=r"model\.onnx: the runtime crashed on it \(SIGKILL\)"):
        runner(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


@pytest.mark.parametrize("shape", [(1,), (3, 5), (0, 4), (64, 1024)])
def test_arrays_cross_as_they_are(shape: Sequence[int]) -> None:
    descriptor = nameless_file()
    array = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    SharedArray(descriptor).write(array)
    assert np.array_equal(SharedArray(descriptor).read(shape, np.float32), array)
    os.close(descriptor)


def test_more_than_was_written_cannot_be_read() -> None:
    descriptor = nameless_file()
    SharedArray(descriptor).write(np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="mmap"):
        SharedArray(descriptor).read((1 << 20,), np.float32)
    os.close(descriptor)
