"""What is written while it runs, by hand."""

import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from prunus.core.errors import PrunusError
from prunus.core.records import Detections
from prunus.data.decode import Pixels
from prunus.predict.outputs import Outputs
from prunus.predict.outputs.crops import Crops, cut_out, folder_name
from prunus.predict.outputs.csv_table import CsvTable
from prunus.predict.outputs.drawn import Drawn
from prunus.predict.outputs.film import Film
from prunus.predict.outputs.json_lines import JsonLines
from prunus.predict.outputs.labels import Labels
from prunus.predict.outputs.line_file import LineFile
from prunus.predict.save import encode_picture, picture_suffix
from prunus.predict.shot import Shot
from prunus.predict.sources.video import VideoFile
from prunus.predict.stages import Stages

NAMES = ("=1+1", "plum, ripe", "leaf")
FOUND = Detections(
    np.array([[10, 20, 50, 60.126], [0, 0, 5, 5]], np.float32),
    np.array([0.875, 0.5], np.float32),
    np.array([1, 0], np.int64),
)
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def shot(title: str, moment: tuple[int, float] | None = None, *, live: bool = False) -> Shot:
    source: Any = SimpleNamespace(
        title=title, stem=Path(title).stem, live=live, lossless=False, fps=moment and 10.0
    )
    return Shot(np.full((100, 200, 3), 90, np.uint8), source, *(moment or (None, None)))


def test_a_table_has_a_line_a_box_and_no_formulas(tmp_path: Path) -> None:
    table = CsvTable(tmp_path, NAMES, Stages())
    table.write(shot("@home/a.jpg"), FOUND, "a")
    table.write(shot("b.jpg"), NOTHING, "b")
    table.write(shot("c.mp4", (50, 2.0)), FOUND[:1], "c")
    table.close()
    assert (tmp_path / "predictions.csv").read_text().splitlines() == [
        "image,frame,seconds,class,name,score,left,top,right,bottom",
        "'@home/a.jpg,,,1,\"plum, ripe\",0.8750,10.00,20.00,50.00,60.13",
        "'@home/a.jpg,,,0,'=1+1,0.5000,0.00,0.00,5.00,5.00",
        "c.mp4,50,2.000,1,\"plum, ripe\",0.8750,10.00,20.00,50.00,60.13",
    ]  # fmt: skip
    with (tmp_path / "predictions.csv").open(newline="") as file:
        for row in csv.reader(file):
            assert len(row) == 10
            assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)


def test_a_table_of_nothing_has_its_header(tmp_path: Path) -> None:
    table = CsvTable(tmp_path, NAMES, Stages())
    table.write(shot("b.jpg"), NOTHING, "b")
    table.close()
    assert (tmp_path / "predictions.csv").read_text().count("\n") == 1


def test_lines_can_be_followed_and_get_their_name_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old\n")
    lines = LineFile(tmp_path / "a.txt")
    assert not (tmp_path / "a.txt.part").exists()
    lines.write("one\n")
    assert (tmp_path / "a.txt.part").read_text() == "one\n", "at once"
    assert (tmp_path / "a.txt").read_text() == "old\n"
    lines.write("two\n")
    lines.close()
    lines.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "one\ntwo\n"


def test_a_name_that_is_no_unicode_is_written(tmp_path: Path) -> None:
    output = JsonLines(tmp_path, NAMES, Stages())
    output.write(shot("a\udc80.jpg"), NOTHING, "a")
    output.close()
    assert '"a\\udc80.jpg"' in (tmp_path / "predictions.jsonl").read_text()


def test_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PrunusError, match=r"file/a\.txt: not written: .* --out"):
        LineFile(tmp_path / "file" / "a.txt").write("one\n")
    with pytest.raises(PrunusError, match=r"b\.mp4: no mp4v video of 8x6 .*--no-save-images"):
        Film(tmp_path / "file" / "b.mp4", (6, 8), 10)


def test_labels_of_a_video_are_one_file_with_frame_and_seconds(tmp_path: Path) -> None:
    labels = Labels(tmp_path, Stages(), with_scores=True)
    labels.write(shot("a.mp4", (0, 0.0)), FOUND[:1], "a")
    labels.write(shot("a.mp4", (1, 0.1)), NOTHING, "a")
    labels.write(shot("a.mp4", (2, 0.2)), FOUND, "a")
    labels.write(shot("b.jpg"), NOTHING, "b")
    labels.write(shot("c.mp4", (0, 0.0)), NOTHING, "c")
    labels.close()
    assert (tmp_path / "labels" / "a.txt").read_text().splitlines() == [
        "0 0.000 1 0.15 0.40063 0.2 0.40126 0.875",
        "2 0.200 1 0.15 0.40063 0.2 0.40126 0.875",
        "2 0.200 0 0.0125 0.025 0.025 0.05 0.5",
    ]
    assert (tmp_path / "labels" / "b.txt").read_text() == ""
    assert (tmp_path / "labels" / "c.txt").read_text() == ""


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("plum", "plum"), ("../../etc", "etc"), ("a/b\\c:d", "a-b-c-d"), ("..", "class 3"),
        ("漿果", "漿果"), ("con.", "con"), ("x" * 300, "x" * 80), ("\n", "class 3"),
    ],
)  # fmt: skip
def test_folders_of_classes_lead_nowhere_else(name: str, folder: str) -> None:
    assert folder_name(name, 3) == folder


def test_crops_hold_every_pixel_that_a_box_touches(tmp_path: Path) -> None:
    image = np.arange(100 * 200 * 3, dtype=np.uint32).reshape(100, 200, 3).astype(np.uint8)
    assert cut_out(image, (10.2, 20.9, 50.1, 60.0)).shape == (40, 41, 3)
    np.testing.assert_array_equal(cut_out(image, (3, 4, 5, 6)), image[4:6, 3:5])
    assert cut_out(image, (-5, 90, 10, 140)).shape == (10, 10, 3)
    assert cut_out(image, (300, 10, 310, 20)).size == 0
    crops = Crops(tmp_path, NAMES, Stages())
    outside = Detections(
        np.array([[300, 0, 310, 9]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64)
    )
    for found in (FOUND, NOTHING, outside):
        crops.write(shot("a.mp4", (7, 0.7)), found, "a")
    crops.write(shot("b.jpg"), FOUND[:1], "b")
    crops.close()
    written = sorted(str(path.relative_to(tmp_path / "crops")) for path in tmp_path.rglob("*.jpg"))
    assert written == ["1-1/a_000007_2.jpg", "plum- ripe/a_000007_1.jpg", "plum- ripe/b_1.jpg"]
    part = cv2.imread(str(tmp_path / "crops" / "plum- ripe" / "b_1.jpg"))
    assert part.shape == (41, 40, 3)


def frames_of(path: Path) -> list[Shot]:
    return list(VideoFile(path))


def test_a_film_has_all_frames_at_its_rate_and_appears_when_it_is_whole(tmp_path: Path) -> None:
    film = Film(tmp_path / "a.mp4", (48, 64), 12.5)
    for value in (0, 80, 160, 240):
        film.add(np.full((48, 64, 3), (value, 0, 0), np.uint8))
    assert not (tmp_path / "a.mp4").exists()
    film.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert VideoFile(tmp_path / "a.mp4").fps == 12.5
    reds = [shot.image[..., 0].mean() for shot in frames_of(tmp_path / "a.mp4")]
    np.testing.assert_allclose(reds, (0, 80, 160, 240), atol=12)


def test_a_film_that_cannot_get_its_name_leaves_nothing(tmp_path: Path) -> None:
    film = Film(tmp_path / "clip.mp4", (32, 32), 25)
    film.add(np.zeros((32, 32, 3), np.uint8))
    (tmp_path / "clip.mp4").mkdir()
    with pytest.raises(PrunusError, match=r"clip\.mp4: not written: "):
        film.close()
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_live_film_is_as_fast_as_what_it_shows(tmp_path: Path) -> None:
    film = Film(tmp_path / "a.mp4", (48, 64), 10)
    grey = np.full((48, 64, 3), 99, np.uint8)
    for seconds in (5.0, 5.1, 5.14, 5.6, 100.0, 100.1):
        film.add(grey, seconds)
    film.close()
    # 1, 1, at least 1, up to frame 6 of 5.6 s, 2 s of the long gap, and on from there.
    assert len(frames_of(tmp_path / "a.mp4")) == 1 + 1 + 1 + 4 + 20 + 1


def test_a_stream_that_changes_its_size_goes_on_in_another_file(
    tmp_path: Path, make_scene: Callable[..., Pixels]
) -> None:
    drawn = Drawn(tmp_path, NAMES, Stages())
    source = shot("a.mp4", (0, 0.0)).source
    for number, size_hw in enumerate([(48, 64), (48, 64), (96, 64), (48, 64)]):
        drawn.write(Shot(make_scene(size_hw), source, number, number / 10), NOTHING, "a")
    drawn.write(shot("b.mp4", (0, 0.0)), NOTHING, "b")
    drawn.write(shot("c.jpg"), FOUND, "c")
    drawn.close()
    films = {path.name: len(frames_of(path)) for path in tmp_path.glob("*.mp4")}
    assert films == {"a.mp4": 2, "a.part2.mp4": 1, "a.part3.mp4": 1, "b.mp4": 1}
    assert (tmp_path / "c.jpg").exists()


def test_opencv_says_nothing_of_a_png(capfd: pytest.CaptureFixture[str]) -> None:
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_WARNING)
    try:
        assert encode_picture(np.zeros((9, 9, 3), np.uint8), ".png").startswith(b"\x89PNG")
    finally:
        cv2.utils.logging.setLogLevel(before)
    assert capfd.readouterr() == ("", "")


def test_what_jpeg_cannot_hold_becomes_png() -> None:
    assert picture_suffix((100, 65_500), lossless=False) == ".jpg"
    assert picture_suffix((100, 65_501), lossless=False) == ".png"
    assert picture_suffix((100, 100), lossless=True) == ".png"
    wide = np.zeros((2, 65_501, 3), np.uint8)
    assert encode_picture(wide, ".png")


class Closes:
    def __init__(self, problem: Exception | None = None) -> None:
        self.problem, self.closed = problem, False
        self.names: list[str] = []

    def write(self, shot: Shot, detections: Detections, name: str) -> None:
        del shot, detections
        self.names.append(name)

    def close(self) -> None:
        self.closed = True
        if self.problem is not None:
            raise self.problem


def test_each_source_has_its_name_and_all_outputs_are_closed() -> None:
    outputs = [Closes(), Closes(PrunusError("the disk is full")), Closes()]
    one, other = shot("a/x.mp4", (0, 0.0)), shot("b/x.jpg")
    with pytest.raises(PrunusError, match="the disk is full"), Outputs(outputs) as together:
        for each in (one, one, other):
            together.write(each, NOTHING)
    assert outputs[0].names == ["x", "x", "x-2"]
    assert all(output.closed for output in outputs)


def test_crops_of_a_video_and_of_a_picture_like_its_frame_are_all_kept(tmp_path: Path) -> None:
    shots = [shot("a.mp4", (1, 0.1)), shot("a_000001.jpg"), shot("x/a.jpg")]
    with Outputs([Crops(tmp_path, NAMES, Stages())]) as outputs:
        for each in shots:
            outputs.write(each, FOUND[:1])
    assert sorted(path.name for path in (tmp_path / "crops").rglob("*.jpg")) == [
        "a-2_1.jpg", "a_000001-2_1.jpg", "a_000001_1.jpg"
    ]  # fmt: skip
