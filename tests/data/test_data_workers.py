"""Workers that die, hang or raise: replaced, named, in order, never for ever (R10, R11)."""

import ctypes
import faulthandler
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from prunus.core.errors import DataError
from prunus.core.records import Batch, Frame
from prunus.data import pool
from prunus.data.workers import Made, Stream

KEYS = tuple(range(9))
Fault = str


@dataclass
class Maker:
    """Makes batches whose pixels are their key; has a fault at one key, a number of times."""

    fault: Fault = ""
    at: int = 4
    times: int = 1
    counter: Path = Path()
    size: int = 8

    def __call__(self, key: Hashable) -> Made:
        assert isinstance(key, int)
        if key == self.at and self.fault and self._again():
            self._fail()
        images = torch.full((2, 3, self.size, self.size), key, dtype=torch.uint8)
        targets = torch.tensor([[0, 1, 0.5, 0.5, 0.2, 0.1 * key]])
        return Made(Batch(images, targets, self._frames(key)), (f"noticed {key}",))

    def names(self, key: Hashable) -> str:
        return f"epoch 1, batch {key} (a{key}.jpg, b{key}.jpg)"

    def _frames(self, key: int) -> tuple[Frame, ...]:
        return tuple(Frame(Path(f"{letter}{key}.jpg"), (8, 8)) for letter in "ab")

    def _again(self) -> bool:
        """Count in a file, since each try is another process."""
        with self.counter.open("a") as file:
            file.write("x")
        return self.counter.stat().st_size <= self.times

    def _fail(self) -> None:
        match self.fault:
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "segfault":
                faulthandler.disable()
                ctypes.string_at(0)
            case "exit":
                os._exit(7)
            case "raises":
                raise ZeroDivisionError("a bug")
            case "hangs":
                time.sleep(1000)
            case "refused":
                raise DataError("pictures/a.jpg: cannot be decoded.")


def run(maker: Maker, workers: int = 2, **options: bool) -> Iterator[Batch]:
    return Stream(maker, workers, 1 << 10, keep_workers=options.get("keep", False)).run(KEYS)


def assert_complete(batches: list[Batch]) -> None:
    assert [int(batch.images[0, 0, 0, 0]) for batch in batches] == list(KEYS)
    assert [batch.frames[1].path.name for batch in batches] == [f"b{key}.jpg" for key in KEYS]
    for key, batch in enumerate(batches):
        assert batch.images.dtype == torch.uint8
        assert (batch.images == key).all()
        assert batch.targets[0, 5] == pytest.approx(0.1 * key)


@pytest.mark.parametrize("workers", [0, 1, 2, 3, 12])
@pytest.mark.parametrize("size", [8, 64])
def test_batches_come_whole_and_in_order(workers: int, size: int) -> None:
    """Also those that are larger than was said, and fewer than there are workers."""
    assert_complete(list(run(Maker(size=size), workers)))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("killed", "was killed by SIGKILL"),
        ("segfault", "was killed by SIGSEGV"),
        ("exit", "ended with 7"),
        ("raises", "raised ZeroDivisionError"),
        ("hangs", "hung for"),
    ],
)
def test_a_worker_that_fails_is_replaced_and_its_batch_named(
    fault: Fault,
    said: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "HANG_S", 1.0)
    maker = Maker(fault, times=3, counter=tmp_path / "count")
    with caplog.at_level(logging.WARNING, logger="prunus"):
        assert_complete(list(run(maker)))
    for number in (1, 2, 3):
        assert f"over epoch 1, batch 4 (a4.jpg, b4.jpg): started anew, {number} of 3" in caplog.text
    assert caplog.text.count(f"loader worker 0 {said}") == 3


@pytest.mark.parametrize("fault", ["killed", "hangs"])
def test_a_batch_that_always_kills_ends_the_training(
    fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "HANG_S", 0.6)
    start = time.monotonic()
    with pytest.raises(DataError, match=r"over epoch 1, batch 4 \(a4.jpg, b4.jpg\), 4 times in a"):
        list(run(Maker(fault, times=99, counter=tmp_path / "count")))
    assert time.monotonic() - start < 30


def test_it_ends_within_a_minute_at_the_built_in_limits() -> None:
    assert (pool.RESTARTS + 1) * (pool.HANG_S + pool.LOOK_EVERY_S + pool.LAST_WORDS_S) < 60


def test_an_exception_that_stays_keeps_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)4 times in a row\n.*_fail.*ZeroDivisionError: a"):
        list(run(Maker("raises", times=99, counter=tmp_path / "count")))


def test_a_picture_that_is_refused_is_no_fault_of_the_worker(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^pictures/a\.jpg: cannot be decoded\.$"):
        list(run(Maker("refused", times=1, counter=tmp_path / "count")))


def test_slow_work_is_not_taken_for_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "HANG_S", 0.7)

    class Busy(Maker):
        def __call__(self, key: Hashable) -> Made:
            end = time.monotonic() + (1.5 if key == 1 else 0)
            while time.monotonic() < end:
                pass
            return super().__call__(key)

    assert_complete(list(run(Busy())))


def test_a_worker_killed_between_two_batches_is_noticed() -> None:
    stream = Stream(Maker(), 2, 1 << 10, keep_workers=True)
    batches = []
    for batch in stream.run(KEYS):
        batches.append(batch)
        if len(batches) in (2, 5):
            for child in children():
                os.kill(child, signal.SIGKILL)
    assert_complete(batches)
    assert_complete(list(stream.run(KEYS)))


def test_no_worker_outlives_a_stream() -> None:
    batches = run(Maker(), keep=True)
    next(batches)
    assert len(children()) == 2
    batches.close()  # type: ignore[attr-defined]
    assert not children()
    stream = Stream(Maker(), 2, 1 << 10, keep_workers=True)
    list(stream.run(KEYS))
    assert len(children()) == 2
    del stream
    assert not children()


def test_no_worker_outlives_its_parent(tmp_path: Path) -> None:
    """Killed without a chance to tidy up, while a worker hangs."""
    text = f"""
import os, sys, signal, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from {Path(__file__).stem} import Maker, Stream, children
maker = Maker("hangs", times=9, counter=Path({str(tmp_path / "count")!r}))
batches = Stream(maker, 2, 1 << 10, keep_workers=True).run(tuple(range(9)))
next(batches)
while not maker.counter.exists():
    time.sleep(0.05)
print(*children(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_small_shared_memory_is_no_limit(tmp_path: Path) -> None:
    """Batches of 3 MB through a /dev/shm of 64 kB, in a mount namespace of its own."""
    script = tmp_path / "script.py"
    script.write_text(f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from {Path(__file__).stem} import *
import shutil
assert shutil.disk_usage("/dev/shm").total == 65536
assert_complete(list(Stream(Maker(size=700), 2, 3_000_000, keep_workers=False).run(KEYS)))
print("complete")
""")
    mount = 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$0" "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, sys.executable, str(script)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if "Operation not permitted" in done.stderr or "permission denied" in done.stderr.lower():
        pytest.skip("no mount namespaces for this user")
    assert done.stdout == "complete\n", done.stderr


def children() -> list[int]:
    """Return the processes that this one has started and that are still there."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid() and fields[0] != "Z":
            name = (folder / "cmdline").read_text()
            if "python" in name:
                found.append(int(folder.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
