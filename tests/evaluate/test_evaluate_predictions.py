"""The COCO results file: its content, its ids, and that COCO's tools read it."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from prunus.core.errors import PrunusError
from prunus.core.records import Detections
from prunus.data.coco_ids import CocoIds, coco_ids
from prunus.data.index import build_index
from prunus.data.spec import read_data
from prunus.evaluate.coco import coco_metrics
from prunus.evaluate.predictions import from_json, image_ids, save_predictions, to_json
from prunus.evaluate.truth import truth_of


def detections(*rows: tuple[float, ...]) -> Detections:
    values = np.array(rows, dtype=np.float32).reshape(-1, 6)
    return Detections(values[:, :4], values[:, 4], values[:, 5].astype(np.int64))


FOUND = [detections((1, 2, 11.1234, 22, 0.8765432, 1), (0, 0, 5, 5, 0.5, 0)), detections()]
IMAGES = [Path("images/000000000139.jpg"), Path("images/000000000285.jpg")]


def test_holds_one_entry_a_detection(tmp_path: Path) -> None:
    save_predictions(tmp_path / "predictions.json", FOUND, IMAGES)
    assert json.loads((tmp_path / "predictions.json").read_text()) == [
        {"image_id": 139, "category_id": 1, "bbox": [1.0, 2.0, 10.123, 20.0], "score": 0.87654},
        {"image_id": 139, "category_id": 0, "bbox": [0.0, 0.0, 5.0, 5.0], "score": 0.5},
    ]


def test_no_detections_are_an_empty_list(tmp_path: Path) -> None:
    save_predictions(tmp_path / "predictions.json", [detections()], IMAGES[:1])
    assert json.loads((tmp_path / "predictions.json").read_text()) == []


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["000139.jpg", "7.png"], [139, 7]),
        (["000139.jpg", "cat.png"], [0, 1]),
        (["a/7.jpg", "b/7.jpg"], [0, 1]),
        (["²3.jpg"], [0]),
        ([], []),
    ],
)
def test_image_ids_are_the_file_names_only_where_all_are_different_numbers(
    names: list[str], ids: list[int]
) -> None:
    assert image_ids([Path(name) for name in names]) == ids


def test_hotcoco_reads_it_back(tmp_path: Path) -> None:
    hotcoco = pytest.importorskip("hotcoco")
    save_predictions(tmp_path / "predictions.json", FOUND, IMAGES)
    truth = hotcoco.COCO(
        {
            "images": [{"id": 139, "height": 50, "width": 50}],
            "annotations": [],
            "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
        }
    )
    assert len(truth.load_res(str(tmp_path / "predictions.json")).anns) == 2


def test_a_file_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PrunusError, match=r"predictions\.json: not written"):
        save_predictions(tmp_path / "file" / "predictions.json", FOUND, IMAGES)


CATEGORIES = [(90, "dog"), (17, "cat"), (3, "nobody"), (44, "dog")]


def coco_set(root: Path, count: int = 6, side: int = 200) -> Path:
    """A COCO data set whose ids say nothing: neither 0, 1, 2 nor the files' names."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(count):
        name = f"{number:06d}.png"
        Image.new("RGB", (side, side)).save(root / "images" / name)
        images.append({"id": 1000 - 7 * number, "file_name": name, "width": side, "height": side})
        for _ in range(4):
            (left, top), (width, height) = rng.integers(0, 100, 2), rng.integers(8, 100, 2)
            box = [int(value) for value in (left, top, width, height)]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": images[-1]["id"], "iscrowd": 0,
                 "category_id": int(rng.choice([90, 17])), "bbox": box, "area": box[2] * box[3]}
            )  # fmt: skip
    categories = [{"id": id_, "name": name} for id_, name in CATEGORIES[:3]]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "val.json").write_text(json.dumps(content))
    file = root / "data.yaml"
    file.write_text(yaml.safe_dump({"val": "val.json", "names": ["cat", "dog"]}))
    return file


@pytest.mark.parametrize("tool", ["hotcoco", "pycocotools"])
def test_cocos_tools_take_the_file_with_the_data_sets_own_json(tmp_path: Path, tool: str) -> None:
    coco = pytest.importorskip("hotcoco" if tool == "hotcoco" else "pycocotools.coco")
    judge = coco if tool == "hotcoco" else pytest.importorskip("pycocotools.cocoeval")
    spec = read_data(coco_set(tmp_path / "set"))
    index = build_index(spec, "val")
    rng = np.random.default_rng(1)
    truth = truth_of(index)
    found = [
        detections(*((*(box + rng.normal(0, 3, 4)), rng.random(), class_)
                     for box, class_ in zip(one.boxes_xyxy, one.classes, strict=True)))
        for one in truth
    ]  # fmt: skip
    ids = coco_ids(spec, "val", index.paths)
    save_predictions(tmp_path / "predictions.json", found, index.paths, ids)

    labels = coco.COCO(str(tmp_path / "set/val.json"))
    evaluation = judge.COCOeval(labels, labels.loadRes(str(tmp_path / "predictions.json")), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    sizes = [(int(height), int(width)) for height, width in index.sizes_hw]
    ours = coco_metrics(found, truth, sizes, index.names).as_dict()
    theirs = [None if value < 0 else value for value in evaluation.stats]
    assert 0.3 < theirs[0] < 0.9
    assert theirs == pytest.approx(list(ours.values()), abs=2e-3)


def test_ids_are_the_jsons_own_and_classes_without_a_category_get_free_ones(
    tmp_path: Path,
) -> None:
    file = coco_set(tmp_path / "set", count=3)
    file.write_text(yaml.safe_dump({"val": "val.json", "names": ["wolf", "cat", "fox", "dog"]}))
    spec = read_data(file)
    paths = build_index(spec, "val").paths
    assert coco_ids(spec, "val", paths[:2]) == CocoIds((1000, 993), (91, 17, 92, 90))
    text = (file.parent / "val.json").read_text()
    twice = json.loads(text)
    twice["categories"] = [{"id": id_, "name": name} for id_, name in CATEGORIES]
    (file.parent / "val.json").write_text(json.dumps(twice))
    assert coco_ids(spec, "val", ()) == CocoIds((), (91, 17, 92, 44))


def test_there_are_no_ids_where_the_split_is_not_one_json(tmp_path: Path) -> None:
    file = coco_set(tmp_path / "set")
    keys = {"train": "images", "val": ["val.json", "images"], "names": ["cat", "dog"]}
    file.write_text(yaml.safe_dump(keys))
    spec = read_data(file)
    assert coco_ids(spec, "train", ()) is None
    assert coco_ids(spec, "val", ()) is None


def test_detections_come_back_through_the_ids_that_they_went_with() -> None:
    ids = CocoIds((5, 'a "b"'), (90, 17))
    text = to_json(FOUND[:1] * 2, IMAGES, ids)
    entries = json.loads(text)
    assert [(entry["image_id"], entry["category_id"]) for entry in entries] == [
        (5, 17), (5, 90), ('a "b"', 17), ('a "b"', 90)
    ]  # fmt: skip
    assert to_json(from_json(text, IMAGES, "x.json", ids), IMAGES, ids) == text
    with pytest.raises(PrunusError, match=r"x\.json: no results file of these images \(KeyError"):
        from_json(text, IMAGES, "x.json")
    with pytest.raises(PrunusError, match=r"x\.json: no results file of these images \(KeyError"):
        from_json(text, IMAGES, "x.json", CocoIds(ids.images, (90, 18)))
