"""`predict` on files, as the command line runs it, and `prunus.load`."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

import prunus
from prunus.cli.main import main
from prunus.core.errors import PrunusError
from prunus.predict.model import Model
from prunus.predict.quiet import be_quiet
from prunus.predict.sources import KINDS, Kind
from prunus.predict.sources.live import LiveSource

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Heed Ctrl-C as a program does that was not started in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def film(path: Path, frames: int) -> Path:
    be_quiet()  # before this process's first video, or FFmpeg speaks in every later test
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 64))
    for number in range(frames):
        writer.write(np.full((64, 64, 3), number, np.uint8))
    writer.release()
    return path


class Counts:
    """A runner that finds nothing, and does something at the fourth picture."""

    names, stride, size_hw, batch = ("plum",), 32, None, None

    def __init__(self, at_fourth: Callable[[], object]) -> None:
        self.at_fourth, self.seen = at_fourth, 0

    def __call__(self, images: Tensor) -> Tensor:
        self.seen += 1
        if self.seen == 4:
            self.at_fourth()
        return torch.zeros(len(images), 8, 6)


def open_as(runner: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> object:
        return runner

    monkeypatch.setattr("prunus.pipeline.predict.open_runner", opened)


def report_in(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def command(source: object, out: Path) -> list[str]:
    words = ("predict", "--weights", "w.onnx", "--source", source, "--out", out, "--quiet")
    return list(map(str, words))


def test_the_report_says_how_fast_each_stage_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_as(Counts(lambda: None), monkeypatch)
    assert main(command(film(tmp_path / "a.mp4", 6), tmp_path / "out")) == 0
    report = report_in(tmp_path / "out")
    assert (report["images"], report["unreadable"], report["stopped"]) == (6, 0, False)
    assert list(report["speed_ms"]) == ["decode", "letterbox", "inference", "nms", "draw", "write"]
    assert all(ms >= 0 for ms in report["speed_ms"].values())
    assert "stream" not in report


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_all_files_whole(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_as(Counts(lambda: os.kill(os.getpid(), number)), monkeypatch)
    words, out = command(film(tmp_path / "a.mp4", 30), tmp_path / "out"), tmp_path / "out"
    if number == signal.SIGINT:
        assert main(words) == 130
    else:
        with pytest.raises(SystemExit, match="143"):
            main(words)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    names = {path.name for path in out.iterdir()}
    assert names == {"a.mp4", "predictions.jsonl", "report.json", "config.yaml", "log.txt"}
    report = report_in(out)
    assert report["stopped"]
    assert 3 <= report["images"] < 30
    assert len((out / "predictions.jsonl").read_text().splitlines()) == report["images"]


def test_stopped_before_anything_was_found_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Counts(lambda: os.kill(os.getpid(), signal.SIGINT))
    runner.seen = 3
    open_as(runner, monkeypatch)
    assert main(command(film(tmp_path / "a.mp4", 9), tmp_path / "out")) == 130
    assert not (tmp_path / "out").exists()


class Fading:
    """A camera that gives five frames, then nothing."""

    fps = 10.0

    def __init__(self) -> None:
        self.left = 5

    def read(self) -> Any:
        self.left -= 1
        return np.zeros((64, 64, 3), np.uint8) if self.left >= 0 else None

    def close(self) -> None:
        pass


def test_a_stream_is_reported_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_as(Counts(lambda: None), monkeypatch)

    def open_source(word: str, vid_stride: int) -> LiveSource:
        title = KINDS["real"].open_source(word, vid_stride).title
        return LiveSource(title, "cam", Fading, vid_stride, pauses_s=())

    monkeypatch.setitem(KINDS, "real", KINDS["stream"])
    stream = Kind(KINDS["stream"].claims, open_source, live=True)
    monkeypatch.setitem(KINDS, "stream", stream)
    out = tmp_path / "out"
    assert main(command("rtsp://root:PlUm@10.0.0.7/cam", out)) == 0
    report = report_in(out)
    assert report["stream"]["received"] == 5
    assert report["stream"]["received"] == report["images"] + report["stream"]["dropped"]
    assert report["stream"]["lost"]
    written = [path for path in out.rglob("*") if path.is_file()]
    assert len(written) == 5
    for path in written:
        assert b"PlUm" not in path.read_bytes(), path
        assert "PlUm" not in path.name


def test_a_loaded_model_is_called_with_pictures(weights: Path) -> None:
    model = prunus.load(weights, device="cpu", precision="fp32", threads=1)
    assert isinstance(model, Model)
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    (found,) = model(image, image_size=64, confidence=0.0, max_detections=5)
    assert len(found) == 5
    assert set(found.class_names) <= {"plum", "leaf", "blossom"}
    assert found.boxes_xyxy.max() <= 70
    assert "load" in dir(prunus)


def test_what_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    with pytest.raises(PrunusError, match=r"absent\.onnx: no such file"):
        prunus.load(tmp_path / "absent.onnx")
