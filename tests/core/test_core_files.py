"""Files that are never half written: what is kept, tried again, cleared away and said."""

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from prunus.core import files
from prunus.core.console import log
from prunus.core.errors import ConfigError, PrunusError
from prunus.core.files import remove_leftovers, write_atomically, write_text
from prunus.core.runs import RunSettings, in_use, reopen, start


def fill(text: str) -> Callable[[Path], object]:
    return lambda temporary: temporary.write_text(text)


def test_what_stood_there_is_kept_when_asked(tmp_path: Path) -> None:
    path, previous = tmp_path / "a.txt", tmp_path / "b.txt"
    for text in ("one", "two", "three"):
        write_atomically(path, fill(text), previous=previous)
    assert (path.read_text(), previous.read_text()) == ("three", "two")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("number", "tries"), [(errno.EIO, 4), (errno.ESTALE, 4), (errno.ENOSPC, 1), (errno.EROFS, 1)]
)
def test_only_what_may_pass_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, tries: int
) -> None:
    monkeypatch.setattr(files, "PAUSES_S", (0.0, 0.0, 0.0))
    calls: list[Path] = []

    def fail(temporary: Path) -> None:
        calls.append(temporary)
        raise OSError(number, os.strerror(number))

    with pytest.raises(PrunusError, match=rf"a\.txt: not written: {os.strerror(number)}"):
        write_atomically(tmp_path / "a.txt", fail)
    assert len(calls) == tries
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_said_in_bytes(tmp_path: Path) -> None:
    def overflow(_: Path) -> None:
        with Path("/dev/full").open("w") as file:
            file.write("x" * 100_000)

    with pytest.raises(
        PrunusError, match=r"No space left on device, 1,234 bytes are needed, [\d,]"
    ):
        write_atomically(tmp_path / "a.txt", overflow, size=1234)
    write_text(tmp_path / "a.txt", "12345")
    with pytest.raises(PrunusError, match=r"No space left on device, 5 bytes are needed"):
        write_atomically(tmp_path / "a.txt", overflow)
    assert (tmp_path / "a.txt").read_text() == "12345"


def test_leftovers_of_killed_writes_are_cleared_away(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    for name in (".state.pt.abcd1234.pt", "state.pt", ".other.pt.abcd1234.pt", "state.pt.x.pt"):
        (tmp_path / name).write_text("x")
    remove_leftovers(path)
    left = {entry.name for entry in tmp_path.iterdir()}
    assert left == {"state.pt", ".other.pt.abcd1234.pt", "state.pt.x.pt"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_log_that_cannot_be_written_is_said_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log.txt").symlink_to("/dev/full")
    with caplog.at_level(logging.INFO, logger="prunus"), reopen("val", tmp_path, RunSettings()):
        for number in range(3):
            log.info("line %d", number)
    assert caplog.text.count("log.txt: not written: No space left on device") == 1
    assert "line 2" in caplog.text
    assert "Logging error" not in capsys.readouterr().err


def test_a_folder_is_one_process_s_at_a_time(tmp_path: Path) -> None:
    with start("val", RunSettings(project=tmp_path)) as run:
        assert in_use(run.folder)
        with pytest.raises(ConfigError, match="another process is at work in this run folder"):
            reopen("val", run.folder, RunSettings())
    assert not in_use(run.folder)
    assert not in_use(tmp_path / "nowhere")
