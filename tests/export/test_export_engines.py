"""Engines, here and in a process of their own: the same numbers, and a crash harms nobody else."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from prunus.core.errors import ExportError
from prunus.export.backends import BACKENDS, open_runner
from prunus.export.backends import onnx as backend
from prunus.export.engines import EngineError, Options, child, plain, start_engine
from prunus.export.engines.child import ChildEngine
from prunus.export.engines.shared import SharedArray, nameless_file
from prunus.export.form import Form
from prunus.model.detector import Detector

OPTIONS = Options(threads=1)
SMALL = np.zeros((1, 64, 8), np.uint8)
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
        if content[0] == b"too many":
            import numpy; return numpy.zeros((1, 1 << 24, 1), "float32")
        if content[0] == b"exit":
            os._exit(7)
        print("chatter")
        return images[:, ::16].astype("float32")
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
    monkeypatch.syspath_prepend(tmp_path)
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
    first = engine(np.full((2, 64, 3), 1, np.uint8))
    larger = engine(np.full((200, 64, 300), 2, np.uint8))
    second = engine(np.full((2, 64, 3), 3, np.uint8))
    assert (first == 1).all() and (larger == 2).all() and (second == 3).all()
    assert larger.shape == (200, 4, 300)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"in a call", r"the runtime crashed on it \(SIGABRT\)"),
        (b"exit", r"the runtime crashed on it \(exit code 7\)"),
        (b"too large", "needs more memory than there is"),
        (b"too many", r"puts out \[1, 16777216\] candidates, more than any detector"),
    ],
)
def test_a_crash_in_a_call_is_one_line_here(crashing: str, content: bytes, reason: str) -> None:
    engine = ChildEngine(crashing, [content], OPTIONS)
    with pytest.raises(EngineError, match=reason):
        engine(SMALL)
    with pytest.raises(EngineError, match=r"crashed|memory|silent"):  # and stays one
        engine(SMALL)


def test_a_crash_at_the_start_is_one_line_here(crashing: str) -> None:
    with pytest.raises(EngineError, match=r"crashed on it \(SIGABRT\); nothing else was harmed"):
        ChildEngine(crashing, [b"at start"], OPTIONS)


def test_memory_of_a_child_is_bounded(crashing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "available_bytes", lambda: 1 << 31)
    engine = ChildEngine(crashing, [b"too much"], OPTIONS)
    with pytest.raises(EngineError, match="needs more memory than there is"):
        engine(SMALL)


def test_a_child_that_hangs_is_stopped(crashing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "RUN_S", 0.5)
    engine = ChildEngine(crashing, [b"hang"], OPTIONS)
    with pytest.raises(EngineError, match="did not answer in 0 s and was stopped"):
        engine(SMALL)
    assert engine._process.wait() == -signal.SIGKILL


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="shows open files on Linux only")
def test_a_child_ends_with_its_engine(onnx_content: bytes) -> None:
    engine = ChildEngine("onnx", [onnx_content], OPTIONS)
    process = engine._process
    before = len(list(DESCRIPTORS.iterdir()))
    del engine
    assert process.returncode is not None, "it was waited for"
    assert len(list(DESCRIPTORS.iterdir())) == before - 3, "two arrays and the socket"


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


def test_nothing_is_imported_from_the_current_folder(
    onnx_content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that somebody sends may hold a model, and a resource.py."""
    (tmp_path / "resource.py").write_text("open('canary', 'w')\n")
    monkeypatch.chdir(tmp_path)
    ChildEngine("onnx", [onnx_content], OPTIONS)
    assert not (tmp_path / "canary").exists()


def test_an_answer_that_was_not_waited_for_is_not_taken_for_the_next(
    onnx_content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ChildEngine("onnx", [onnx_content], OPTIONS)

    def stop(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "_answer", stop)
    images = np.zeros((1, 3, 64, 64), np.uint8)
    with pytest.raises(KeyboardInterrupt):
        engine(images)
    monkeypatch.undo()
    with pytest.raises(EngineError, match=r"crashed on it \(SIGKILL\)"):
        engine(images)


def test_threads_get_their_own_answers(onnx_content: bytes) -> None:
    engine = ChildEngine("onnx", [onnx_content], OPTIONS)
    images = np.random.default_rng(0).integers(0, 256, (8, 1, 3, 64, 64), dtype=np.uint8)
    alone = [engine(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            together = list(pool.map(engine, images))
            assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_a_lower_limit_of_the_user_stays(crashing: str) -> None:
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    code = (
        "import resource, numpy as np\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (1 << 33, 1 << 33))\n"
        "from prunus.export.engines import Options\n"
        "from prunus.export.engines.child import ChildEngine\n"
        f"engine = ChildEngine({crashing!r}, [b'fine'], Options())\n"
        "print(engine(np.ones((1, 64, 8), np.uint8)).sum())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == 32
    assert resource.getrlimit(resource.RLIMIT_DATA) == limits


def test_words_of_a_file_are_made_safe() -> None:
    assert plain("a\x1b[2Jb\nc") == r"a\x1b[2Jb\nc"
    assert plain("x" * 10_000) == "x" * 300 + "…"


def test_a_signal_is_borne_after_openvino_was_here(detector: Detector, tmp_path: Path) -> None:
    """It gives signal handlers a stack of its own, and would take it away with its last Core."""
    path = tmp_path / "model.xml"
    BACKENDS["openvino"].write(detector, path, Form((64, 64)))  # type: ignore[misc]
    code = (
        "import faulthandler, gc, signal, threading\n"
        "from pathlib import Path\n"
        "faulthandler.enable()\n"
        "from prunus.export.backends import openvino\n"
        "import torch\n"
        f"runner = openvino.open(Path({str(path)!r}), threads=1)\n"
        "runner(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))\n"
        "kept = [runner]; del runner\n"
        "thread = threading.Thread(target=lambda: (kept.clear(), gc.collect()))\n"
        "thread.start(); thread.join()\n"
        "signal.signal(signal.SIGINT, lambda *_: print('heeded'))\n"
        "signal.raise_signal(signal.SIGINT)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "heeded\n")
