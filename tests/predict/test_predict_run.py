"""Pictures in, detections in the pictures' own pixels out, whatever the runner takes."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from prunus.core import config
from prunus.core.errors import ConfigError, DataError
from prunus.core.records import Size
from prunus.predict.config import PredictConfig
from prunus.predict.run import class_numbers, predict, run_predict

NAMES = ("red", "blue")


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
        ((_, detections),) = predict(runner, [path], image_size=160, **options)  # type: ignore[arg-type]
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


def test_classes_are_numbers_or_names() -> None:
    assert class_numbers((), NAMES) is None
    assert class_numbers(("blue", "0", 1), NAMES) == (1, 0, 1)
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
        "--hide-labels", "--hide-conf", "--project", "--name", "--exist-ok",
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"--conf-thres: expected less than 1, got 1\.5"):
        config.parse(PredictConfig, {"weights": "w", "source": ["a"], "confidence": 1.5})
