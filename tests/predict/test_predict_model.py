"""What `prunus.load` returns: pictures of all kinds in, detections that can draw themselves out."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from prunus.core.errors import ConfigError, DataError
from prunus.core.records import Detections
from prunus.data.decode import Pixels
from prunus.predict.draw import colour_of
from prunus.predict.model import Model
from prunus.predict.prediction import Prediction

MakeScene = Callable[..., Pixels]
BOXES = [(20, 20, 60, 60), (100, 40, 120, 60)]


@pytest.fixture
def model(squares: Any) -> Model:
    return Model(squares(), "squares.onnx")


@pytest.fixture
def image(make_scene: MakeScene) -> Pixels:
    return make_scene((96, 160), *BOXES)


@pytest.fixture
def file(image: Pixels, tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path)
    return path


def test_files_pillow_pictures_and_arrays_give_the_same(
    model: Model, image: Pixels, file: Path
) -> None:
    given = [file, str(file), Image.open(file), image, image[:, ::-1][:, ::-1]]
    results = model(given, image_size=160)
    assert len(results) == 5
    for result in results:
        assert isinstance(result, Detections)
        np.testing.assert_array_equal(result.boxes_xyxy, BOXES)
        assert (result.boxes_xyxy.dtype, result.classes.dtype) == (np.float32, np.int64)
        assert result.class_names == ["square", "square"]
    assert [result.source for result in results] == [str(file), str(file), None, None, None]


def test_one_picture_gives_a_list_of_one(model: Model, image: Pixels, file: Path) -> None:
    for one in (image, file, Image.open(file)):
        (result,) = model(one)
        assert len(result) == 2
    assert model([]) == []
    assert model.names == ("square", "circle")
    assert "squares.onnx" in repr(model)


def test_a_turned_photograph_is_seen_upright(model: Model, file: Path, tmp_path: Path) -> None:
    picture = Image.open(file)
    exif = picture.getexif()
    exif[0x0112] = 6  # to be turned clockwise
    picture.save(tmp_path / "turned.png", exif=exif)
    from_pillow, from_file = model([Image.open(tmp_path / "turned.png"), tmp_path / "turned.png"])
    assert from_pillow.plot().shape == (160, 96, 3)
    np.testing.assert_array_equal(from_pillow.boxes_xyxy, from_file.boxes_xyxy)


def test_grey_and_transparent_pillow_pictures_are_taken(model: Model, file: Path) -> None:
    for mode in ("L", "RGBA", "P"):
        (result,) = model(Image.open(file).convert(mode))
        assert result.plot().shape == (96, 160, 3)


@pytest.mark.parametrize("degrees", [0, 90])
def test_pillow_pictures_of_16_bits_are_what_their_file_is(
    degrees: int, model: Model, image: Pixels, tmp_path: Path
) -> None:
    path = tmp_path / "deep.png"
    grey = np.rot90(image, degrees // 90)[..., 0].astype(np.uint16)
    Image.fromarray(grey * 256 + 77).save(path)
    from_pillow, from_file = model([Image.open(path), path])
    np.testing.assert_array_equal(from_pillow.plot(), from_file.plot())


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pillow_pictures_of_32_bits_are_refused(mode: str, model: Model, file: Path) -> None:
    with pytest.raises(DataError, match=rf"images\[0\]: mode {mode} does not say .* to 8 bits"):
        model(Image.open(file).convert("L").convert(mode))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((9, 9), np.uint8), r"images\[1\]: expected a path, .* got uint8 \(9, 9\)"),
        (np.zeros((9, 9, 4), np.uint8), r"got uint8 \(9, 9, 4\)"),
        (np.zeros((9, 9, 3)), r"got float64 \(9, 9, 3\)"),
        (np.zeros((2, 9, 9, 3), np.uint8), r"got uint8 \(2, 9, 9, 3\)"),
        (np.zeros((0, 9, 3), np.uint8), r"got uint8 \(0, 9, 3\)"),
        (None, r"images\[1\]: .* got NoneType"),
        ("absent.jpg", r"absent\.jpg: no such image"),
    ],
)
def test_what_is_no_picture_is_told(given: Any, message: str, model: Model, image: Pixels) -> None:
    with pytest.raises(DataError, match=message):
        model([image, given])


def test_an_enormous_pillow_picture_is_refused_before_it_is_decoded(
    model: Model, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prunus.predict.sources.held.MAX_PIXELS", 1000)
    with pytest.raises(DataError, match=r"images\[0\]: 160x96 pixels, over 0 megapixels"):
        model(Image.open(file))


def test_thresholds_and_classes(model: Model, image: Pixels) -> None:
    assert len(model(image, confidence=0.88)[0]) == 1
    assert len(model(image, max_detections=1)[0]) == 1
    assert len(model(image, classes=["circle"])[0]) == 0
    assert len(model(image, classes=[0])[0]) == 2
    with pytest.raises(ConfigError, match="no class 'plum'"):
        model(image, classes=["plum"])
    with pytest.raises(ConfigError, match=r"confidence 1\.5, iou 0\.45: give confidence in"):
        model(image, confidence=1.5)
    assert len(model(image, classes="square")[0]) == 2, "a single name is no list of letters"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"image_size": 0}, r"image_size: must be at least 1, got 0"),
        ({"tile": 0}, r"tile: must be at least 1, got 0"),
        ({"tile": 32, "tile_overlap": 1.0}, r"tile_overlap: give a share in \[0, 1\), got 1\."),
        ({"tile": 32, "tile_overlap": -0.1}, r"tile_overlap: .* got -0\.1"),
        ({"max_detections": 0}, r"max_detections: must be at least 1, got 0"),
    ],
)
def test_numbers_out_of_their_range_are_refused(
    words: dict[str, Any], message: str, model: Model, image: Pixels
) -> None:
    with pytest.raises(ConfigError, match=message):
        model(image, **words)


def test_augmenting_and_tiles(model: Model, squares: Any, image: Pixels) -> None:
    (plain,) = model(image)
    (thrice,) = model(image, augment=True)
    np.testing.assert_allclose(thrice.boxes_xyxy, plain.boxes_xyxy, atol=4)
    model.runner.shapes.clear()  # type: ignore[attr-defined]
    (tiled,) = model(image, tile=64, image_size=64)
    assert (4, 3, 64, 64) in model.runner.shapes  # type: ignore[attr-defined]
    np.testing.assert_array_equal(tiled.boxes_xyxy, plain.boxes_xyxy)
    with pytest.raises(ConfigError, match=r"--augment: fixed\.onnx takes images of 160x160 only"):
        Model(squares((160, 160), 1), "fixed.onnx")(image, augment=True)


def test_plots_and_saves(model: Model, image: Pixels, file: Path, tmp_path: Path) -> None:
    from_array, from_file = model([image, file])
    drawn = from_array.plot(with_names=False, line_width=2)
    assert drawn.dtype == np.uint8
    assert tuple(drawn[20, 40]) == colour_of(0)
    np.testing.assert_array_equal(drawn, from_file.plot(with_names=False, line_width=2))
    assert (image[20, 40] == (230, 20, 20)).all(), "the picture itself is left alone"
    from_file.save(tmp_path / "out" / "drawn.png")
    saved = cv2.imread(str(tmp_path / "out" / "drawn.png"))[..., ::-1]
    np.testing.assert_array_equal(saved, from_file.plot())
    with pytest.raises(ConfigError, match=r"drawn\.gif: pictures are written as \.jpg"):
        from_file.save(tmp_path / "drawn.gif")


def test_some_are_taken_by_mask_slice_and_place(model: Model, image: Pixels) -> None:
    (result,) = model(image)
    sure = result[result.scores > 0.88]
    assert isinstance(sure, Prediction)
    assert (len(sure), sure.names) == (1, result.names)
    assert sure.plot().shape == image.shape
    np.testing.assert_array_equal(result[::-1].scores, result.scores[::-1])
    np.testing.assert_array_equal(result[1].boxes_xyxy, result.boxes_xyxy[1:2])
    np.testing.assert_array_equal(result[np.array([1, 0])].classes, result.classes[::-1])
    assert [len(one) for one in result] == [1, 1]
    with pytest.raises(IndexError, match="out of bounds"):
        result[2]


def test_boxes_scores_and_classes_are_taken_together() -> None:
    boxes = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = Detections(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.array([5, 6, 7]))
    for keep, places in (
        (found.classes == 6, [1]),
        (slice(1, None), [1, 2]),
        (np.array([2, 0]), [2, 0]),
        (-1, [2]),
    ):
        some = found[keep]
        np.testing.assert_array_equal(some.boxes_xyxy, boxes[places])
        np.testing.assert_array_equal(some.scores, found.scores[places])
        np.testing.assert_array_equal(some.classes, found.classes[places])


def test_streams_give_frames_one_at_a_time(
    model: Model, file: Path, make_film: Callable[..., Path]
) -> None:
    film = make_film(file.parent / "clip.mp4", 7)
    results = list(model.stream([film, file], vid_stride=3, image_size=160))
    assert [result.number for result in results] == [0, 3, 6, None]
    assert [result.seconds for result in results] == pytest.approx([0, 0.3, 0.6, None])
    for result in results[:3]:
        left = 8 + 2 * (result.number or 0)
        np.testing.assert_allclose(result.boxes_xyxy, [(left, 32, left + 24, 56)], atol=2)
        assert result.plot().shape == (96, 160, 3)
    assert results[3].pixels is None, "a file is read again when it is needed"


def test_supervision_gets_everything(
    model: Model, image: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = SimpleNamespace(Detections=lambda **columns: columns)
    monkeypatch.setitem(sys.modules, "supervision", fake)  # type: ignore[arg-type]
    (result,) = model(image)
    columns = result.to_supervision()
    np.testing.assert_array_equal(columns["xyxy"], BOXES)
    np.testing.assert_array_equal(columns["class_id"], [0, 0])
    np.testing.assert_array_equal(columns["confidence"], result.scores)
    assert columns["data"]["class_name"].tolist() == ["square", "square"]
    assert result[:0].to_supervision()["data"]["class_name"].shape == (0,)


def test_supervision_itself_takes_it(model: Model, image: Pixels) -> None:
    supervision = pytest.importorskip("supervision")
    (result,) = model(image)
    for found in (result, result[:0]):
        converted = found.to_supervision()
        assert isinstance(converted, supervision.Detections)
        assert len(converted) == len(found)
    assert len(converted[converted["class_name"] == "square"]) == 0


def test_without_supervision_the_way_to_it_is_told(
    model: Model, image: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ConfigError, match=r"needs the package supervision\. pip install"):
        model(image)[0].to_supervision()
