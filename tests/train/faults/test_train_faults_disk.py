"""Disks that are full, read-only or failing: never a success, the last state intact (R5, R6).

Full and read-only disks are real ones where this user may mount them.
"""

import errno
import logging
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from prunus.core import files
from prunus.core.errors import PrunusError
from prunus.train import start
from prunus.train.checkpoint import BEST, LAST, PREVIOUS, STATE, newest_state, read_state
from prunus.train.config import TrainConfig
from prunus.train.loggers import Board
from prunus.train.logs import RESULTS
from prunus.train.outputs import Outputs
from prunus.train.sealed import write_sealed
from prunus.weights.files import load_weights

pytestmark = pytest.mark.integration
MakeSettings = Callable[..., TrainConfig]
Victim = Callable[..., Any]
Words = Callable[..., list[str]]
Mount = Callable[[int], Path]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Mount]:
    """Mount a disk of so many bytes."""
    place = tmp_path / "disk"
    place.mkdir()

    def make(size: int) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"this user may not mount: {done.stderr.strip()}")
        return place

    yield make
    subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def content(number: int, count: int = 100_000) -> dict[str, object]:
    return {"number": number, "tensor": torch.ones(count)}


def test_a_full_disk_leaves_the_last_state_and_says_how_much_is_missing(small_disk: Mount) -> None:
    folder = small_disk(1_000_000)
    write_sealed(folder / STATE, content(1), folder / PREVIOUS)
    write_sealed(folder / STATE, content(2), folder / PREVIOUS)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(
        PrunusError,
        match=r"state\.pt: not written: No space left on device, 40\d,\d+ bytes are needed, "
        r"1\d\d,\d+ are free\. Free space",
    ):
        write_sealed(folder / STATE, content(3), folder / PREVIOUS)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_disk_that_fills_up_stops_the_training_and_loses_nothing(
    victim: Victim, words: Words, small_disk: Mount
) -> None:
    """Room for two states and both weights, then something else takes the rest."""
    folder = small_disk(30_000_000) / "run"
    running = victim(arguments=words(folder, epochs=30, save_minutes=0), phases=["save"], pause=0.1)
    for _ in range(3):
        running.until("phase")
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    with suppress(OSError):
        (folder.parent / "filler").write_bytes(bytes(free - 100_000))
    assert running.end() == 2, running.text()
    assert "No space left on device" in running.text()
    assert "bytes are needed" in running.text()
    assert "Traceback" not in running.text()
    assert "best epoch" not in running.text()
    assert not (folder / "report.json").exists()
    newest_state(folder)
    (folder.parent / "filler").unlink()
    again = victim(arguments=["train", "--resume", str(folder)], phases=["validation"])
    again.until("phase")
    os.kill(again.pid, 9)
    again.end()


def test_a_disk_with_little_room_is_warned_of(
    settings: MakeSettings, tiny: Path, small_disk: Mount, caplog: pytest.LogCaptureFixture
) -> None:
    folder = small_disk(2_500_000) / "run"
    with (
        caplog.at_level(logging.WARNING, logger="prunus"),
        pytest.raises(PrunusError, match="not written"),
    ):
        start.run(settings(cfg=str(tiny), epochs=9), folder)
    assert "MB are free, and 3 saves of" in caplog.text


def test_a_read_only_disk_is_said_at_once(
    settings: MakeSettings, tiny: Path, small_disk: Mount
) -> None:
    folder = small_disk(50_000_000) / "run"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-o", "remount,ro", str(folder.parent)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("this user may not mount")
    with pytest.raises(PrunusError, match=r"not written: Read-only file system\. Free space, or"):
        start.run(settings(cfg=str(tiny)), folder)


def test_a_limit_on_file_sizes_is_no_success(tmp_path: Path) -> None:
    """For users who may not mount: the system refuses to write past a limit."""
    path = tmp_path / STATE
    write_sealed(path, content(1), tmp_path / PREVIOUS)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(PrunusError, match=r"state\.pt: not written: File too large, 40\d,\d+"):
            write_sealed(path, content(2), tmp_path / PREVIOUS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [entry.name for entry in tmp_path.iterdir()] == [STATE]
    write_sealed(path, content(2), tmp_path / PREVIOUS)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to become somebody else")
def test_a_folder_of_somebody_else_is_said_at_once(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        try:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            write_sealed(tmp_path / STATE, content(1, 10), tmp_path / PREVIOUS)
        except PrunusError as error:
            os._exit(7 if "not written: Permission denied" in str(error) else 8)
        finally:
            os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.parametrize(("failures", "saved"), [(1, True), (3, True), (4, False)])
def test_what_may_pass_is_tried_again_and_never_swallowed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    failures: int,
    saved: bool,
) -> None:
    """A stale handle of a network drive, at the flush."""
    write_sealed(tmp_path / STATE, content(1, 10), tmp_path / PREVIOUS)
    real, calls = os.fsync, iter(range(100))

    def stale(handle: int) -> None:
        if next(calls) < failures:
            raise OSError(errno.ESTALE, "Stale file handle")
        real(handle)

    monkeypatch.setattr(files, "PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(os, "fsync", stale)
    if saved:
        write_sealed(tmp_path / STATE, content(2, 10), tmp_path / PREVIOUS)
    else:
        with pytest.raises(PrunusError, match="not written: Stale file handle"):
            write_sealed(tmp_path / STATE, content(2, 10), tmp_path / PREVIOUS)
    assert caplog.text.count("Stale file handle; trying again") == min(failures, 3)
    numbers = {path.name: torch.load(path)["number"] for path in tmp_path.iterdir()}
    assert numbers == ({STATE: 2, PREVIOUS: 1} if saved else {STATE: 1})


def test_what_reads_back_differently_is_not_taken_for_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that drops the end of what it is given."""
    monkeypatch.setattr(files, "PAUSES_S", ())
    write_sealed(tmp_path / STATE, content(1, 10), tmp_path / PREVIOUS)
    real = Path.open

    def lossy(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        file = real(path, mode, *rest, **more)
        if mode == "rb" and path.name.startswith("."):
            os.truncate(path, path.stat().st_size - 1)
        return file

    monkeypatch.setattr(Path, "open", lossy)
    with pytest.raises(PrunusError, match="what was written reads back differently"):
        write_sealed(tmp_path / STATE, content(2, 10), tmp_path / PREVIOUS)
    monkeypatch.undo()
    assert read_number(tmp_path / STATE) == 1


def read_number(path: Path) -> int:
    return int(torch.load(path)["number"])


@pytest.mark.parametrize("what", ["results", "events"])
def test_files_beside_the_state_do_not_stop_a_training_but_are_no_success(
    settings: MakeSettings,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if what == "results":
        monkeypatch.setattr("prunus.train.outputs.write_results", fail)
    else:
        monkeypatch.setattr(Board, "add_scalars", fail)
    folder = tmp_path / "run"
    with pytest.raises(PrunusError, match=r"No space left.*its weights are saved in .* is missing"):
        start.run(settings(cfg=str(tiny)), folder)
    assert read_state(folder / STATE)["position"]["epoch"] == 2
    for name in (LAST, BEST):
        load_weights(folder / name)
    assert (folder / RESULTS).exists() == (what == "events")


def test_weights_that_could_not_be_written_are_made_from_the_state(
    settings: MakeSettings, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first epoch is the best so far; its weights are refused, the state is not."""
    through, folder = tmp_path / "through", tmp_path / "run"
    start.run(settings(cfg=str(tiny), epochs=1), through)

    def fail(*_: object, **__: object) -> None:
        raise PrunusError("no room for weights.")

    with monkeypatch.context() as patch:
        patch.setattr(Outputs, "save_weights", fail)
        with pytest.raises(PrunusError, match="no room for weights"):
            start.run(settings(cfg=str(tiny), epochs=1), folder)
    assert not (folder / BEST).exists()
    result = start.resume(folder)
    assert (folder / RESULTS).read_text() == (through / RESULTS).read_text()
    for name in (LAST, BEST):
        one, other = (load_weights(place / name).detector for place in (folder, through))
        for key, tensor in one.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[key]), key
    assert result.best_epoch == 0
