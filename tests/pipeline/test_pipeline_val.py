"""`prunus val` on files: what it writes, reports and refuses, alone and as an ensemble."""

import json
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from prunus.cli.main import main
from prunus.core.config import parse
from prunus.core.errors import ConfigError
from prunus.data.config import DataConvertConfig
from prunus.data.index import build_index
from prunus.data.spec import read_data
from prunus.evaluate.config import ValConfig
from prunus.model.build import build_detector
from prunus.model.spec import read_arch
from prunus.pipeline import val as pipeline_val
from prunus.pipeline.data import convert
from prunus.pipeline.val import val
from prunus.weights.native import save_weights

pytestmark = pytest.mark.integration
SIDE = 64


@pytest.fixture(scope="module")
def model(orchard: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained detector of the orchard's classes, with boxes enough to judge."""
    torch.manual_seed(0)
    names = read_data(orchard).names
    path = tmp_path_factory.mktemp("model") / "fresh.safetensors"
    save_weights(build_detector(read_arch("yolov5n"), names), path)
    return path


def judged(out: Path, orchard: Path, *weights: Path, **values: Any) -> dict[str, Any]:
    settings = {
        "weights": weights,
        "data": orchard,
        "image_size": SIDE,
        "precision": "fp32",
        "plots": False,
        "out": out,
        **values,
    }
    report: dict[str, Any] = val(parse(ValConfig, settings))
    return report


def test_writes_predictions_pictures_and_a_report(
    model: Path, orchard: Path, tmp_path: Path
) -> None:
    report = judged(tmp_path, orchard, model, plots=True)
    entries = json.loads((tmp_path / "predictions.json").read_text())
    assert len(entries) == report["metrics"]["detections"] > 0
    for name in ("curves.png", "confusion.png"):
        assert cv2.imread(str(tmp_path / name)) is not None
    confusion = report["confusion"]
    assert (confusion["confidence"], confusion["iou"]) == (0.25, 0.45)
    labelled = [sum(column[:-1]) for column in zip(*confusion["matrix"], strict=True)]
    assert len(labelled) == len(confusion["names"]) == len(read_data(orchard).names) + 1
    total = sum(sum(row) for row in confusion["matrix"])
    assert total >= report["metrics"]["labels"]
    assert set(report["background"]) >= {"images", "false_positives_per_image"}
    assert len(report["data"]["sha256"]) == 64
    assert json.loads((tmp_path / "report.json").read_text())["verb"] == "val"


def test_a_picture_that_fails_costs_neither_predictions_nor_report(
    model: Path, orchard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no picture")

    monkeypatch.setattr(pipeline_val, "plot_curves", fail)
    with pytest.raises(ValueError, match="no picture"):
        judged(tmp_path, orchard, model, plots=True)
    assert {"predictions.json", "report.json"} <= {file.name for file in tmp_path.iterdir()}


def test_a_confusion_matrix_of_too_many_classes_is_left_out(
    model: Path, orchard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_val, "MOST_CONFUSED", 1)
    report = judged(tmp_path, orchard, model, plots=True)
    assert "confusion" not in report
    assert (tmp_path / "curves.png").exists()
    assert not (tmp_path / "confusion.png").exists()


def test_both_metrics_are_shown_by_name(
    model: Path, orchard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("val", "--weights", model, "--data", orchard, "--img", SIDE, "--no-plots")
    assert main([*map(str, words), "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().err
    assert "YOLOv5's metric" in shown
    assert "COCO's metric" in shown
    assert "ms an image: preprocess" in shown
    assert not (tmp_path / "curves.png").exists()


def test_an_ensemble_of_a_model_with_itself_has_its_figures(
    model: Path, orchard: Path, tmp_path: Path
) -> None:
    alone = judged(tmp_path / "one", orchard, model)
    both = judged(tmp_path / "two", orchard, model, model)
    for name in ("precision", "recall", "map50", "map50_95", "detections", "coco"):
        assert both["metrics"][name] == alone["metrics"][name], name
    assert both["model"]["params"] == 2 * alone["model"]["params"]
    assert [member["file"] for member in both["model"]["members"]] == [model.name] * 2
    assert set(both["inputs"]) == {"weights", "weights 2", "data"}


def test_an_ensemble_of_other_classes_is_refused_in_one_line(
    model: Path, orchard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.safetensors"
    save_weights(build_detector(read_arch("yolov5n"), ("one", "two")), other)
    words = ("val", "--weights", model, other, "--data", orchard, "--out", tmp_path / "v")
    assert main([*map(str, words), "--quiet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "fresh.safetensors and other.safetensors do not know the same classes" in line


def test_augmented_judges_other_candidates_of_the_same_images(
    model: Path, orchard: Path, tmp_path: Path
) -> None:
    plain = judged(tmp_path / "a", orchard, model)
    augmented = judged(tmp_path / "b", orchard, model, augment=True)
    assert augmented["data"]["sha256"] == plain["data"]["sha256"]
    assert augmented["metrics"]["detections"] != plain["metrics"]["detections"]


def test_speed_prints_stages_and_says_what_it_overrides(
    model: Path, orchard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("val", "--weights", model, "--data", orchard, "--img", SIDE, "--task", "speed")
    assert main([*map(str, words), "--split", "train", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().err
    assert "squares, confidence 0.25 and overlap 0.45" in shown
    assert "together" in shown
    assert "mAP50" not in shown
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["data"]["split"] == "train"
    assert report["metrics"]["coco"] is None


@pytest.mark.parametrize("columns", [5, 6])
def test_label_rows_of_every_image(
    columns: int, model: Path, orchard: Path, tmp_path: Path
) -> None:
    report = judged(tmp_path, orchard, model, save_txt=True, save_conf=columns == 6)
    files = sorted((tmp_path / "labels").iterdir())
    index = build_index(read_data(orchard), "val")
    assert [file.stem for file in files] == sorted(path.stem for path in index.paths)
    rows = [line.split() for file in files for line in file.read_text().splitlines()]
    assert len(rows) == report["metrics"]["detections"]
    assert {len(row) for row in rows} == {columns}
    assert all(0 <= float(value) <= 1 for row in rows for value in row[1:])


def test_intervals_hold_the_figure_and_follow_the_seed(
    model: Path, orchard: Path, tmp_path: Path
) -> None:
    found = [
        judged(tmp_path / str(number), orchard, model, bootstrap=50, seed=seed)["bootstrap"]
        for number, seed in enumerate((1, 1, 2))
    ]
    assert found[0] == found[1]
    assert found[2]["seed"] == 2
    low, high = found[0]["map50"]
    assert 0 <= low <= high <= 1
    assert [row["name"] for row in found[0]["per_class"]]


def test_a_run_compared_with_itself_cannot_be_told_from_it(
    model: Path, orchard: Path, tmp_path: Path
) -> None:
    judged(tmp_path / "a", orchard, model)
    report = judged(tmp_path / "b", orchard, model, compare=tmp_path / "a", bootstrap=30)
    assert report["comparison"]["run"] == str(tmp_path / "a")
    for metric in ("mAP50", "mAP50-95"):
        one = report["comparison"][metric]
        assert (one["difference"], one["interval"]) == (0.0, [0.0, 0.0])
        assert one["more_than_noise"] is False
        assert one["resamples"] == 30


def test_a_run_on_other_images_is_refused_in_one_line(
    model: Path, orchard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judged(tmp_path / "a", orchard, model, split="test")
    capsys.readouterr()
    words = ("val", "--weights", model, "--data", orchard, "--img", SIDE, "--out", tmp_path / "b")
    assert main([*map(str, words), "--quiet", "--compare", str(tmp_path / "a")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "was judged on other images, labels or classes" in line


def test_without_predictions_on_request(model: Path, orchard: Path, tmp_path: Path) -> None:
    judged(tmp_path, orchard, model, save_json=False)
    assert not (tmp_path / "predictions.json").exists()


@pytest.fixture
def as_coco(orchard: Path, tmp_path: Path) -> Path:
    """The orchard's COCO JSON, with ids that are no places."""
    settings = parse(DataConvertConfig, {"data": orchard, "to": "coco", "out": tmp_path / "coco"})
    file = Path(str(convert(settings)["data"]))
    place = file.parent / "annotations/val.json"
    content = json.loads(place.read_text())
    for item in content["categories"]:
        item["id"] = 100 - item["id"]
    for item in content["images"]:
        item["id"] += 5000
    for item in content["annotations"]:
        item["image_id"] += 5000
        item["category_id"] = 100 - item["category_id"]
    place.write_text(json.dumps(content))
    return file


def test_predictions_have_the_ids_of_a_coco_json_and_can_be_compared(
    model: Path, as_coco: Path, tmp_path: Path
) -> None:
    report = judged(tmp_path / "one", as_coco, model)
    entries = json.loads((tmp_path / "one/predictions.json").read_text())
    truth = json.loads((as_coco.parent / "annotations/val.json").read_text())
    for key, listed in (("image_id", "images"), ("category_id", "categories")):
        assert {entry[key] for entry in entries} <= {item["id"] for item in truth[listed]}
    assert report["data"]["coco_ids"] is True
    again = judged(tmp_path / "two", as_coco, model, compare=tmp_path / "one")
    found = [again["comparison"][metric]["difference"] for metric in ("mAP50", "mAP50-95")]
    assert found == [0, 0]
    single = judged(tmp_path / "three", as_coco, model, single_class=True)
    assert single["data"]["coco_ids"] is False


def test_a_run_with_other_ids_is_refused(
    model: Path, orchard: Path, as_coco: Path, tmp_path: Path
) -> None:
    judged(tmp_path / "one", as_coco, model)
    with pytest.raises(ConfigError, match=r"has the ids of a COCO JSON, this data set has none"):
        judged(tmp_path / "two", orchard, model, compare=tmp_path / "one")
