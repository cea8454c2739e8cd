"""`torchrun -m prunus train`: two processes learn as one, and fall and rise together."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from prunus.core.distributed import Processes
from prunus.data.augment import Augmentation
from prunus.data.index import build_index
from prunus.data.loader import TrainingBatches, validation_batches
from prunus.data.spec import read_data
from prunus.data.tiles import Tiles
from prunus.weights.files import load_weights

SIDE = 64
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ALONE = [sys.executable]
PATIENCE_SECONDS = 60
pytestmark = pytest.mark.integration


def words(data: Path, out: Path, *more: str) -> list[str]:
    return [
        "-m", "prunus", "train", "--data", str(data), "--cfg", "yolov5n", "--img", str(SIDE),
        "--batch", "3", "--nominal-batch", "6", "--epochs", "3", "--precision", "fp32",
        "--device", "cpu", "--no-auto-anchor", "--lr0", "0.001", "--warmup-epochs", "0",
        "--out", str(out), *more,
    ]  # fmt: skip


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@contextmanager
def running(command: list[str]) -> Iterator["subprocess.Popen[str]"]:
    """Start a command in a session of its own, of which nothing stays."""
    process = subprocess.Popen(
        command,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def finish(command: list[str]) -> None:
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr


def curve(out: Path) -> list[list[float]]:
    with (out / "results.csv").open() as file:
        return [[float(value) for value in row.values()] for row in csv.DictReader(file)]


@pytest.mark.parametrize("more", [(), ("--teacher", "TEACHER", "--freeze", "3")])
def test_two_processes_have_the_loss_curve_of_one(
    data: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    if more:  # of eight images in threes: the last batch gives each process one
        finish(ALONE + words(data, tmp_path / "teacher", "--epochs", "1"))
        weights = str(tmp_path / "teacher" / "last.safetensors")
        more = tuple(weights if word == "TEACHER" else word for word in more)
    finish(ALONE + words(data, tmp_path / "one", *more))
    finish(TORCHRUN + words(data, tmp_path / "two", *more))
    one, two = torch.tensor(curve(tmp_path / "one")), torch.tensor(curve(tmp_path / "two"))
    torch.testing.assert_close(two, one, rtol=5e-3, atol=3e-4)
    one, two = (flat_weights(tmp_path / name / "last.safetensors") for name in ("one", "two"))
    assert float((two - one).norm() / one.norm()) < 1e-3, "rounding, amplified by nine steps"


def test_when_one_process_dies_all_end_and_a_restart_goes_on(data: Path, tmp_path: Path) -> None:
    finish(ALONE + words(data, tmp_path / "whole", "--epochs", "12"))
    out = tmp_path / "together"
    with running([*TORCHRUN, "--max-restarts=1", *words(data, out, "--epochs", "12")]) as process:
        wait_for(lambda: len(rows_of(out)) >= 3)
        killed = time.monotonic()
        os.kill(workers_of(process.pid)[1], signal.SIGKILL)
        output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "resuming" in output
    assert time.monotonic() - killed < 240
    ours, whole = torch.tensor(curve(out)), torch.tensor(curve(tmp_path / "whole"))
    torch.testing.assert_close(ours[:, 1:4], whole[:, 1:4], rtol=2e-2, atol=1e-3)


def test_without_a_restart_all_end_soon_with_the_cause(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "together"
    with running([*TORCHRUN, *words(data, out, "--epochs", "500")]) as process:
        wait_for(lambda: len(rows_of(out)) >= 1)
        victims = workers_of(process.pid)
        os.kill(victims[1], signal.SIGKILL)
        killed = time.monotonic()
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode != 0
    assert time.monotonic() - killed < PATIENCE_SECONDS
    assert "-9" in output  # torchrun names the process that a signal has ended
    assert not any(Path(f"/proc/{victim}").exists() for victim in victims)


def test_more_processes_than_images_in_a_batch_are_refused(data: Path, tmp_path: Path) -> None:
    command = [*TORCHRUN, *words(data, tmp_path / "out", "--batch", "1")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "--batch: cannot be 1 where 2 processes train together" in done.stderr


@pytest.mark.parametrize("count", [2, 3])
def test_shares_of_a_batch_are_the_batch(data: Path, count: int) -> None:
    index = build_index(read_data(data), "train")

    def batches(processes: Processes) -> TrainingBatches:
        return TrainingBatches(Tiles(index, SIDE), 3, Augmentation(), seed=0, processes=processes)

    whole = list(batches(Processes()).epoch(1))
    shares = [list(batches(Processes(rank, count)).epoch(1)) for rank in range(count)]
    for number, batch in enumerate(whole[:-1]):
        for rank in range(count):
            part = shares[rank][number]
            assert part.images.equal(batch.images[rank::count])
            assert part.frames == batch.frames[rank::count]
    assert all(len(share[-1].frames) >= 1 for share in shares), "nobody has nothing to do"


def test_shares_of_a_validation_are_all_images_once(data: Path) -> None:
    index = build_index(read_data(data), "val")
    paths = [
        frame.path
        for rank in range(3)
        for batch in validation_batches(index, SIDE, 2, 32, processes=Processes(rank, 3))
        for frame in batch.frames
    ]
    assert sorted(paths) == sorted(index.paths)


def flat_weights(path: Path) -> torch.Tensor:
    detector = load_weights(path).detector
    return torch.cat([parameter.detach().flatten() for parameter in detector.parameters()])


def rows_of(out: Path) -> list[list[float]]:
    return curve(out) if (out / "results.csv").exists() else []


def workers_of(process: int) -> list[int]:
    """Return torchrun's workers, by rank."""
    found = []
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        text = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        ranks = [int(word[5:]) for word in text if word.startswith(b"RANK=")]
        found += [(rank, int(child)) for rank in ranks]
    return [child for _, child in sorted(found)]


def wait_for(done: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.2)
