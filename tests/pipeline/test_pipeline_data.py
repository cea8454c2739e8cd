"""`data check` and `data convert` as verbs: reports, exit status, data sets to train on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prunus.cli import data_check
from prunus.core.config import parse
from prunus.core.errors import ConfigError, DataError
from prunus.data.config import DataCheckConfig, DataConvertConfig
from prunus.data.index import build_index
from prunus.data.review.sizes import boxes_px
from prunus.data.scenes.write import write_demo
from prunus.data.spec import read_data
from prunus.model.build import build_detector
from prunus.model.spec import read_arch
from prunus.pipeline.data import check, convert
from prunus.pipeline.train import train
from prunus.train.anchors import best_possible_recall
from prunus.train.config import TrainConfig
from prunus.weights.native import save_weights

pytestmark = pytest.mark.integration


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    """The YAML of a generated data set that a test may spoil."""
    return write_demo(tmp_path / "set", train=8, val=4, test=1, image_size=64, seed=1)


def checked(data: Path, out: Path, **settings: object) -> dict[str, Any]:
    return check(parse(DataCheckConfig, {"data": data, "out": out, "image_size": 64, **settings}))


def spoil(data: Path, lines: str) -> str:
    label = sorted((data.parent / "labels/train").iterdir())[0]
    before = label.read_text()
    label.write_text(before + lines)
    return f"labels/train/{label.name}:{before.count(chr(10)) + 1}"


def test_a_sound_set_passes_and_every_file_is_there(small_set: Path, tmp_path: Path) -> None:
    report = checked(small_set, tmp_path / "out")
    assert report["problems"] == []
    assert data_check.status(report) == 0
    assert {file.name for file in (tmp_path / "out").iterdir()} >= {
        "report.json", "problems.txt", "check.md", "findings.csv",
    }  # fmt: skip
    assert json.loads((tmp_path / "out/report.json").read_text()) == report
    assert [row["anchors of"] for row in report["anchors"]] == ["yolov5n", "yolov5n6"]
    assert all(0 <= row["best possible recall"] <= 1 for row in report["anchors"])
    shares = [row["share"] for row in report["splits"]["train"]["classes"]]
    assert sum(shares) == pytest.approx(1)


def test_each_finding_has_place_rule_and_effect(small_set: Path, tmp_path: Path) -> None:
    place = spoil(small_set, "9 .5 .5 .1 .1\n")
    report = checked(small_set, tmp_path / "out")
    (problem,) = report["problems"]
    assert problem.startswith(f"{place}: class 9")
    assert problem.endswith("box dropped")
    file, line = place.split(":")
    row = f'{file},{line},box-class,box dropped,"class 9'
    assert row in (tmp_path / "out/findings.csv").read_text()
    assert "| box-class | 1 | box dropped |" in (tmp_path / "out/check.md").read_text()
    assert (tmp_path / "out/problems.txt").read_text().startswith(place)


@pytest.mark.parametrize(("most", "status"), [(0.0, 1), (0.05, 1), (0.9, 0), (1.0, 0)])
def test_the_exit_status_follows_the_share(
    small_set: Path, tmp_path: Path, most: float, status: int
) -> None:
    spoil(small_set, "9 .5 .5 .1 .1\n" * 20)
    report = checked(small_set, tmp_path / "out", max_problems=most)
    boxes = sum(facts["labels"] for facts in report["splits"].values())
    assert report["shares"]["boxes"] == pytest.approx(20 / (boxes + 20))
    assert data_check.status(report) == status
    limit = "above" if status else "within"
    assert f"{limit} the limit of {most:.2%}" in (tmp_path / "out/check.md").read_text()


def test_images_left_out_and_leaks_count_too(small_set: Path, tmp_path: Path) -> None:
    root = small_set.parent
    first, second = sorted((root / "images/train").iterdir())[:2]
    (root / f"images/val/{first.name}").write_bytes(first.read_bytes())
    (root / f"labels/val/{first.stem}.txt").write_text("")
    second.write_bytes(b"")
    report = checked(small_set, tmp_path / "out")
    assert report["rules"]["split-same-image"] == report["rules"]["image-empty"] == 1
    assert report["shares"]["images"] == pytest.approx(1 / 14)
    assert report["shares"]["leaked"] == pytest.approx(1 / 13)
    assert data_check.status(report) == 1
    fast = checked(small_set, tmp_path / "fast", fast=True)
    assert "split-same-image" not in fast["rules"]


def test_a_shard_that_cannot_be_read_is_above_any_limit(small_set: Path, tmp_path: Path) -> None:
    (small_set.parent / "lost.tar").write_bytes(b"no tar")
    text = small_set.read_text().replace("train: images/train", "train: [images/train, lost.tar]")
    small_set.write_text(text)
    report = checked(small_set, tmp_path / "out", max_problems=1.0)
    assert report["rules"]["shard-unreadable"] == 1
    assert data_check.status(report) == 1
    assert "1 shards cannot be read at all" in (tmp_path / "out/check.md").read_text()


def test_the_anchors_of_a_model_are_judged_instead_of_the_defaults(
    small_set: Path, tmp_path: Path
) -> None:
    detector = build_detector(read_arch("yolov5n"), read_data(small_set).names)
    save_weights(detector, tmp_path / "same.safetensors")
    detector.anchors.mul_(0.01)
    save_weights(detector, tmp_path / "small.safetensors")
    detector.anchors.mul_(100_000)
    save_weights(detector, tmp_path / "huge.safetensors")
    usual = checked(small_set, tmp_path / "usual")
    same = checked(small_set, tmp_path / "out1", weights=tmp_path / "same.safetensors")
    (row,) = same["anchors"]
    assert row == {**usual["anchors"][0], "anchors of": "same.safetensors"}
    small = checked(small_set, tmp_path / "out3", weights=tmp_path / "small.safetensors")
    sizes = boxes_px(build_index(read_data(small_set), "train"), 64)
    anchors = np.array(read_arch("yolov5n").anchors_px).reshape(-1, 2) / 100
    expected = best_possible_recall(anchors, sizes, 4)
    assert 0.1 < expected < 1
    assert small["anchors"][0]["best possible recall"] == pytest.approx(expected)
    huge = checked(small_set, tmp_path / "out2", weights=tmp_path / "huge.safetensors")
    assert huge["anchors"][0]["best possible recall"] == 0
    assert huge["rules"]["anchors-miss"] == 1
    assert "no anchor of huge.safetensors takes 100.0% of the boxes" in str(huge["remarks"])
    assert huge["inputs"]["weights"]["path"].endswith("huge.safetensors")


def test_bad_input_is_an_error_not_a_share(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        checked(tmp_path / "none.yaml", tmp_path / "out")
    with pytest.raises(ConfigError, match="--max-problems: expected less than or equal to 1"):
        parse(DataCheckConfig, {"data": "x", "max_problems": 2})


@pytest.mark.parametrize("target", ["yolo", "coco", "voc"])
def test_a_converted_set_trains(small_set: Path, tmp_path: Path, target: str) -> None:
    out = tmp_path / "out"
    report = convert(parse(DataConvertConfig, {"data": small_set, "to": target, "out": out}))
    spec, before = read_data(Path(str(report["data"]))), read_data(small_set)
    assert spec.path == out / "data.yaml"
    for split in before.splits:
        one, other = build_index(before, split), build_index(spec, split)
        assert other.boxes == pytest.approx(one.boxes, abs=1e-6)
    settings = {"data": spec.path, "cfg": "yolov5n", "epochs": 1, "batch_size": 8,
                "image_size": 64, "workers": 0, "out": tmp_path / "run"}  # fmt: skip
    assert Path(str(train(parse(TrainConfig, settings))["last"])).is_file()


def test_what_is_lost_is_in_the_report(small_set: Path, tmp_path: Path) -> None:
    spoil(small_set, "0 .1 .1 .5 .1 .5 .5\n9 .5 .5 .1 .1\n")
    report = convert(
        parse(DataConvertConfig, {"data": small_set, "to": "voc", "out": tmp_path / "out"})
    )
    assert report["lost"] == [
        "train: 1 × box dropped, as training does",
        "train: 1 outlines: Pascal VOC has boxes only",
    ]


def test_a_folder_with_things_in_it_is_left_alone(small_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        convert(parse(DataConvertConfig, {"data": small_set, "to": "yolo", "out": out}))
    assert [file.name for file in out.iterdir()] == ["thesis.txt"]
