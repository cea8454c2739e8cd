"""Video files, made here: frames, times, and what damaged ones do."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from prunus.core.errors import DataError
from prunus.predict.sources.video import VideoFile

MakeFilm = Callable[..., Path]


def test_frames_come_in_order_with_number_and_time(tmp_path: Path, make_film: MakeFilm) -> None:
    video = VideoFile(make_film(tmp_path / "a.mp4", 12, fps=12.5))
    shots = list(video)
    assert (video.count, video.fps) == (12, 12.5)
    assert [shot.number for shot in shots] == list(range(12))
    assert [shot.seconds for shot in shots] == pytest.approx([n / 12.5 for n in range(12)])
    for number, shot in enumerate(shots):
        assert shot.image.shape == (96, 160, 3)
        red = (shot.image[44, :, 0].astype(int) - shot.image[44, :, 2] > 100).nonzero()[0]
        assert red[0] == pytest.approx(8 + 2 * number, abs=2), "RGB, and where it was painted"


@pytest.mark.parametrize("vid_stride", [2, 3, 5, 50])
def test_a_stride_looks_at_every_nth(vid_stride: int, tmp_path: Path, make_film: MakeFilm) -> None:
    video = VideoFile(make_film(tmp_path / "a.mp4", 12), vid_stride)
    shots = list(video)
    assert [shot.number for shot in shots] == list(range(0, 12, vid_stride))
    assert [shot.seconds for shot in shots] == pytest.approx(
        [n / 10 for n in range(0, 12, vid_stride)]
    )
    assert video.count == len(shots)
    assert video.fps == pytest.approx(10 / vid_stride)


def test_nothing_is_decoded_before_it_is_asked_for(tmp_path: Path, make_film: MakeFilm) -> None:
    video = VideoFile(make_film(tmp_path / "a.mp4", 4))
    first = next(iter(video))
    assert first.number == 0
    assert video.stem == "a"


@pytest.mark.parametrize("damage", ["junk", "half", "empty"])
def test_a_damaged_video_ends_in_one_line(
    damage: str, tmp_path: Path, make_film: MakeFilm, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = make_film(tmp_path / "whole.mp4", 12).read_bytes()
    content = {"junk": b"plum" * 999, "half": whole[: len(whole) // 2], "empty": b""}[damage]
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    video = VideoFile(path)
    assert video.count is None
    with pytest.raises(DataError, match=r"bad\.mp4: no video that can be decoded: .* Convert it\."):
        list(video)
    assert capfd.readouterr().err == "", "FFmpeg's own complaints"


def test_a_video_that_ends_early_is_told(
    tmp_path: Path,
    make_film: MakeFilm,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = make_film(tmp_path / "whole.mp4", 40, size_hw=(192, 320)).read_bytes()
    place = content.index(b"mdat") + 4
    index = content.index(b"moov")  # after the frames
    path = tmp_path / "torn.mp4"
    torn = place + (index - place) // 2
    path.write_bytes(content[:torn] + bytes(index - torn) + content[index:])
    monkeypatch.setattr(logging.getLogger("prunus"), "propagate", True)
    with caplog.at_level(logging.WARNING, logger="prunus"):
        shots = list(VideoFile(path))
    assert 0 < len(shots) < 40
    assert f"torn.mp4: ends after {len(shots)} of 40 frames" in caplog.text


def test_a_name_like_a_protocol_is_a_file(
    tmp_path: Path, make_film: MakeFilm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_film(tmp_path / "a.mp4", 3).rename(tmp_path / "concat:a.mp4")
    assert len(list(VideoFile(Path("concat:a.mp4")))) == 3


def test_an_enormous_picture_is_refused(
    tmp_path: Path, make_film: MakeFilm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prunus.predict.sources.capture.MAX_PIXELS", 1000)
    with pytest.raises(DataError, match="160x96 pixels, over 0 megapixels"):
        list(VideoFile(make_film(tmp_path / "a.mp4", 2)))
