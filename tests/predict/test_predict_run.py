"""Pictures in, detections in the pictures' own pixels out, whatever the runner takes."""

import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from prunus.core import config
from prunus.core.errors import ConfigError, DataError
from prunus.core.records import Detections, Runner, Size
from prunus.predict.ahead import ahead
from prunus.predict.config import PredictConfig
from prunus.predict.detect import detect, shots_of
from prunus.predict.run import run_predict
from prunus.predict.selection import Selection, class_numbers
from prunus.predict.sources import open_sources
from prunus.predict.sources.video import VideoFile
from prunus.predict.stages import Stages
from prunus.predict.tiles import Look

NAMES = ("red", "blue")


def predict(
    runner: Runner, sources: list[Path], *, image_size: int = 640, **options: Any
) -> Iterator[tuple[Path, Detections]]:
    """Yield each picture's path and what was found; options are those of a `Selection`."""
    stages = Stages()
    shots = shots_of(open_sources(sources).each, stages)
    for shot, found in detect(runner, shots, Look(image_size), Selection(**options), stages):
        yield Path(shot.source.title), found


class FindsColours:
    """A runner that boxes the red and the blue pixels of each image, so that the truth is known.

    A third, weaker candidate repeats the red box as 'blue'.
    """

    names, stride = NAMES, 32

    def __init__(self, size_hw: Size | None = None, batch: int | None = None) -> None:
        self.size_hw, self.batch = size_hw, batch
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.shapes.append(tuple(images.shape))
        assert images.dtype == torch.uint8
        return torch.stack([self._of(image.int()) for image in images])

    def _of(self, image: Tensor) -> Tensor:
        red, blue = image[0] - image[2] > 100, image[2] - image[0] > 100
        rows = [
            [*self._box(red), 0.9, 0.9, 0.1],
            [*self._box(blue), 0.8, 0.1, 0.9],
            [*self._box(red), 0.6, 0.2, 0.8],
        ]
        return torch.tensor(rows, dtype=torch.float32)

    @staticmethod
    def _box(mask: Tensor) -> list[float]:
        y, x = mask.nonzero().unbind(1)
        left, top, right, bottom = x.min(), y.min(), x.max() + 1, y.max() + 1
        return [
            float(v) for v in ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        ]


RED, BLUE = (40, 20, 120, 60), (150, 50, 190, 90)


def picture(path: Path, size_hw: Size = (100, 200)) -> Path:
    """Save a grey picture with a red and a blue patch."""
    image = np.full((*size_hw, 3), 120, np.uint8)
    for (left, top, right, bottom), bgr in ((RED, (0, 0, 255)), (BLUE, (255, 0, 0))):
        image[top:bottom, left:right] = bgr
    cv2.imwrite(str(path), image)
    return path


@pytest.mark.parametrize(
    ("size_hw", "batch", "shape"),
    [
        (None, None, (1, 3, 96, 160)),
        ((160, 160), 1, (1, 3, 160, 160)),
        ((96, 224), 1, (1, 3, 96, 224)),
        ((224, 96), None, (1, 3, 224, 96)),
        ((160, 160), 3, (3, 3, 160, 160)),
        (None, 3, (3, 3, 160, 160)),
    ],
)
def test_boxes_come_back_in_the_picture_s_own_pixels(
    size_hw: Size | None, batch: int | None, shape: tuple[int, ...], tmp_path: Path
) -> None:
    path = picture(tmp_path / "a.png")
    runner = FindsColours(size_hw, batch)
    ((found_path, found),) = predict(runner, [path], image_size=160)
    assert found_path == path
    assert runner.shapes == [shape]
    by_class = {
        int(number): box for number, box in zip(found.classes, found.boxes_xyxy, strict=True)
    }
    pixel = 2.2  # one pixel of the smallest canvas
    np.testing.assert_allclose(found.boxes_xyxy[0], RED, atol=pixel)
    assert np.abs(found.boxes_xyxy - np.array(BLUE)).max(axis=1).min() <= pixel
    assert set(by_class) == {0, 1}
    assert (np.diff(found.scores) <= 0).all()


def test_pictures_of_all_shapes_come_in_order_one_by_one(tmp_path: Path) -> None:
    sizes = [(100, 200), (200, 200), (300, 200), (100, 400), (640, 640)]
    for number, size_hw in enumerate(sizes):
        picture(tmp_path / f"{number}.png", size_hw)
    runner = FindsColours()
    results = list(predict(runner, [tmp_path], image_size=320))
    assert [path.name for path, _ in results] == [f"{n}.png" for n in range(5)]
    for _, found in results:
        np.testing.assert_allclose(found.boxes_xyxy[0], RED, atol=2.1)
    assert runner.shapes[0] == (1, 3, 160, 320), "the smallest rectangle of multiples of the stride"


def test_a_fixed_batch_is_filled_and_gives_no_more_than_there_are(tmp_path: Path) -> None:
    for number in range(5):
        picture(tmp_path / f"{number}.png")
    runner = FindsColours((160, 160), batch=2)
    assert len(list(predict(runner, [tmp_path]))) == 5
    assert [shape[0] for shape in runner.shapes] == [2, 2, 2]


def test_thresholds_do_what_they_say(tmp_path: Path) -> None:
    path, runner = picture(tmp_path / "a.png"), FindsColours()

    def found(**options: object) -> list[tuple[int, float]]:
        ((_, detections),) = predict(runner, [path], image_size=160, **options)
        pairs = zip(detections.classes, detections.scores, strict=True)
        return [(int(number), round(float(score), 2)) for number, score in pairs]

    assert found() == [(0, 0.81), (1, 0.72), (1, 0.48)]
    assert found(confidence=0.5) == [(0, 0.81), (1, 0.72)]
    assert found(max_detections=1) == [(0, 0.81)]
    assert found(classes=[1]) == [(1, 0.72), (1, 0.48)]
    assert found(agnostic=True) == [(0, 0.81), (1, 0.72)], "the repeated box goes"
    assert found(agnostic=True, classes=[1]) == [(1, 0.72), (1, 0.48)], "nothing unasked suppresses"
    assert found(classes=[]) == []


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"bad\.jpg: "):
        list(predict(FindsColours(), [tmp_path]))


@pytest.mark.integration
def test_the_verb_writes_pictures_labels_and_json(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    picture(source / "a.png")
    picture(source / "b.jpg")
    settings = PredictConfig(
        weights=Path("w"), source=(str(source),), image_size=160, save_txt=True, save_conf=True
    )
    out = tmp_path / "out"
    summary = run_predict(FindsColours(), settings, out)
    assert (summary.images, summary.detections) == (2, 6)
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert written == ["a.png", "b.jpg", "labels/a.txt", "labels/b.txt", "predictions.jsonl"]
    records = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert [record["image"] for record in records] == [str(source / "a.png"), str(source / "b.jpg")]
    assert [found["name"] for found in records[0]["detections"]] == ["red", "blue", "blue"]
    label = (out / "labels" / "a.txt").read_text().splitlines()[0].split()
    assert label[0] == "0"
    np.testing.assert_allclose([float(v) for v in label[1:]], [0.4, 0.4, 0.4, 0.4, 0.81], atol=0.01)
    drawn, plain = cv2.imread(str(out / "a.png")), cv2.imread(str(source / "a.png"))
    assert drawn.shape == plain.shape
    assert (drawn != plain).any()


def test_the_verb_writes_only_what_is_asked_for(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    settings = PredictConfig(weights=Path("w"), source=(str(path),), save_images=False)
    run_predict(FindsColours((160, 160)), settings, tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["predictions.jsonl"]


def read_lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def settings_for(*sources: Path | str, **others: object) -> PredictConfig:
    words = {"weights": "w.onnx", "source": list(map(str, sources)), "image_size": 160, **others}
    return config.parse(PredictConfig, words)


@pytest.mark.integration
def test_the_verb_writes_a_video_with_its_labels_table_and_lines(
    tmp_path: Path, squares: Any, make_film: Callable[..., Path]
) -> None:
    film = make_film(tmp_path / "clip.mp4", 11, fps=20)
    settings = settings_for(film, vid_stride=2, save_txt=True, save_csv=True, save_crops=True)
    out = tmp_path / "out"
    summary = run_predict(squares(), settings, out)
    assert (summary.images, summary.detections, summary.stopped) == (6, 6, None)
    written = sorted(path.name for path in out.iterdir())
    assert written == ["clip.mp4", "crops", "labels", "predictions.csv", "predictions.jsonl"]
    records = read_lines(out)
    assert [record["frame"] for record in records] == [0, 2, 4, 6, 8, 10]
    assert [record["seconds"] for record in records] == [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    left = [record["detections"][0]["box_xyxy"][0] for record in records]
    np.testing.assert_allclose(left, [8 + 2 * record["frame"] for record in records], atol=2)
    assert (out / "labels" / "clip.txt").read_text().splitlines()[3].startswith("6 0.300 0 ")
    assert (out / "predictions.csv").read_text().splitlines()[6].split(",")[1:3] == ["10", "0.500"]
    assert len(list((out / "crops" / "square").iterdir())) == 6
    drawn = VideoFile(out / "clip.mp4")
    assert (drawn.fps, drawn.count) == (10, 6), "as fast as the video"
    assert all(seconds >= 0 for seconds in summary.stages.seconds.values())
    assert summary.stages.seconds["decode"] > 0


@pytest.mark.integration
def test_what_cannot_be_read_is_left_out_and_told(
    tmp_path: Path, squares: Any, make_film: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    picture(source / "a.png")
    (source / "b.jpg").write_bytes(b"no picture")
    (source / "c.mp4").write_bytes(b"no video")
    make_film(source / "d.mp4", 3)
    with caplog.at_level(logging.WARNING, logger="prunus"):
        summary = run_predict(squares(), settings_for(source), tmp_path / "out")
    assert summary.images == 4
    assert len(summary.unreadable) == 2
    assert "b.jpg: " in summary.unreadable[0]
    assert "c.mp4: no video" in summary.unreadable[1]
    names = [Path(record["image"]).name for record in read_lines(tmp_path / "out")]
    assert names == ["a.png", "d.mp4", "d.mp4", "d.mp4"]


def test_where_nothing_can_be_read_that_is_the_error(tmp_path: Path, squares: Any) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a\.jpg: .* And 1 more could not be read\."):
        run_predict(squares(), settings_for(tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_empty_list_is_told(
    tmp_path: Path, squares: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n\n"))
    with pytest.raises(DataError, match="the list on standard input is empty"):
        run_predict(squares(), settings_for("-"), tmp_path / "out")


@pytest.mark.integration
def test_a_list_on_standard_input(
    tmp_path: Path, squares: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [picture(tmp_path / f"{number}.png") for number in range(3)]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{path}\n" for path in paths)))
    summary = run_predict(squares(), settings_for("-"), tmp_path / "out")
    assert summary.images == 3
    assert [record["image"] for record in read_lines(tmp_path / "out")] == list(map(str, paths))


@pytest.mark.integration
def test_lines_that_mean_nothing_are_left_out_and_told(
    tmp_path: Path,
    squares: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    paths = [picture(tmp_path / f"{number}.png") for number in range(2)]
    lines = (paths[0], "absent\x1b]0;.jpg", "rtsp://root:plum@10.0.0.7/cam", "n" * 5000, paths[1])
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    summary = run_predict(squares(), settings_for("-"), tmp_path / "out")
    assert (summary.images, len(summary.unreadable)) == (2, 3)
    assert [record["image"] for record in read_lines(tmp_path / "out")] == list(map(str, paths))
    assert r"left out: absent\x1b]0;.jpg: no such picture" in caplog.text
    assert "not in a list" in caplog.text
    assert "too long" in caplog.text
    assert not any(secret in caplog.text for secret in ("plum", "\x1b"))


@pytest.mark.integration
def test_a_file_s_name_moves_no_cursor(tmp_path: Path, squares: Any) -> None:
    path = tmp_path / "a\x1b[2J\n.jpg"
    path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"^[^\x1b\n]*a\\x1b\[2J\\n\.jpg: [^\n]*$"):
        run_predict(squares(), settings_for(path), tmp_path / "out")


@pytest.mark.integration
def test_a_listed_name_that_is_no_unicode(
    tmp_path: Path, squares: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "a.png").rename(tmp_path / "a\udcff.png")
    content = os.fsencode(tmp_path) + b"/a\xff.png\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
    assert run_predict(squares(), settings_for("-"), tmp_path / "out").images == 1
    ((record),) = read_lines(tmp_path / "out")
    assert record["image"] == str(tmp_path / "a\udcff.png")


class Stops:
    """A runner that is stopped by its user at the fourth picture."""

    names, stride, size_hw, batch = NAMES, 32, None, None

    def __init__(self, stop: BaseException) -> None:
        self.stop, self.seen = stop, 0

    def __call__(self, images: Tensor) -> Tensor:
        self.seen += 1
        if self.seen == 4:
            raise self.stop
        return torch.zeros(len(images), 8, 7)


@pytest.mark.integration
@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(143)])
def test_stopped_early_all_that_was_found_is_kept(
    stop: BaseException, tmp_path: Path, make_film: Callable[..., Path]
) -> None:
    film = make_film(tmp_path / "clip.mp4", 30)
    out = tmp_path / "out"
    summary = run_predict(Stops(stop), settings_for(film, save_txt=True, save_csv=True), out)
    assert (summary.images, summary.stopped) == (3, stop)
    assert len(read_lines(out)) == 3
    assert len(list(VideoFile(out / "clip.mp4"))) == 3, "the video is finished"
    assert not [path for path in out.rglob("*") if "part" in path.name or path.name[0] == "."]


def test_a_fault_of_ours_is_not_hidden(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    for number in range(4):
        picture(tmp_path / f"{number}.png")
    with pytest.raises(ZeroDivisionError, match="ours"):
        run_predict(Stops(ZeroDivisionError("ours")), settings_for(path.parent), tmp_path / "out")


def test_augmenting_a_runner_of_one_size_is_refused(tmp_path: Path, squares: Any) -> None:
    path = picture(tmp_path / "a.png")
    with pytest.raises(ConfigError, match=r"--augment: w\.onnx takes images of 160x160 only"):
        run_predict(squares((160, 160), 1), settings_for(path, augment=True), tmp_path / "out")


@pytest.mark.integration
def test_tiles_and_augmenting_from_the_command(tmp_path: Path, squares: Any) -> None:
    path = picture(tmp_path / "a.png", (300, 400))
    runner = squares()
    run_predict(runner, settings_for(path, tile=160, augment=True), tmp_path / "out")
    assert (4, 3, 160, 160) in runner.shapes
    ((record),) = read_lines(tmp_path / "out")
    np.testing.assert_allclose(record["detections"][0]["box_xyxy"], RED, atol=4)


@given(st.lists(st.integers(), max_size=30))
@hypothesis.settings(deadline=None, max_examples=30)
def test_reading_ahead_changes_nothing(items: list[int]) -> None:
    assert list(ahead(iter(items))) == items


def test_reading_ahead_keeps_errors_in_their_place_and_reads_no_further() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            if number == 3:
                raise DataError("number 3")
            yield number

    seen = []
    with pytest.raises(DataError, match="number 3"):
        for number in ahead(items()):
            seen.append(number)  # noqa: PERF402 - until the error
    assert seen == [0, 1, 2]
    made.clear()
    stopped = ahead(iter(lambda: made.append(0), 1))
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    assert len(made) <= 4


def test_classes_are_numbers_or_names() -> None:
    assert class_numbers((), NAMES) is None
    assert class_numbers(("blue", "0", 1), NAMES) == (1, 0, 1)
    assert class_numbers("blue", NAMES) == (1,)
    assert class_numbers(0, NAMES) == (0,)
    with pytest.raises(ConfigError, match="no class '²'"):
        class_numbers(("²",), NAMES)
    with pytest.raises(ConfigError, match=r"no class 'blu' among .*Did you mean 'blue'"):
        class_numbers(("blu",), NAMES)
    with pytest.raises(ConfigError, match=r"no class '2' .*a number from 0 to 1"):
        class_numbers((2,), NAMES)


def test_settings_know_the_flags_of_yolov5() -> None:
    fields = PredictConfig.model_fields.items()
    flags = {flag for name, field in fields for flag in config.flags_of(name, field)}
    assert flags >= {
        "--weights", "--source", "--img", "--imgsz", "--conf-thres", "--iou-thres", "--max-det",
        "--classes", "--agnostic-nms", "--save-txt", "--save-conf", "--device", "--line-thickness",
        "--hide-labels", "--hide-conf", "--agnostic", "--augment", "--vid-stride", "--save-crop",
        "--save-csv", "--tile", "--tile-overlap", "--project", "--name", "--exist-ok",
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"--conf-thres: expected less than 1, got 1\.5"):
        config.parse(PredictConfig, {"weights": "w", "source": ["a"], "confidence": 1.5})
