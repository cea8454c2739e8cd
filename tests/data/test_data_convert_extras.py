"""What both formats can say beyond boxes survives; what only the old one says is counted first."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from PIL import Image

from prunus.data.convert.run import losses, write_data_set
from prunus.data.image_index import ImageIndex
from prunus.data.index import build_index
from prunus.data.spec import DataSpec, read_data

WIDTH, HEIGHT = 100, 50
MASK = {"counts": [5, 9], "size": [HEIGHT, WIDTH]}
RING = [10, 5, 30, 5, 30.25, 25]
INFO = {"year": 2026, "contributor": "梅"}
CATEGORIES = [
    {"id": 90, "name": "dog", "supercategory": "animal"},
    {"id": 17, "name": "cat", "keypoints": ["nose"]},
    {"id": 3, "name": "not asked for"},
]
IMAGES: list[dict[str, Any]] = [
    {"id": 700, "file_name": "b.png", "width": WIDTH, "height": HEIGHT, "license": 4},
    {"id": "x", "file_name": "a.png", "width": 2 * WIDTH, "height": 2 * HEIGHT},
]


def annotation(number: object, image: object, category: int, *box: float, **more: Any) -> Any:
    named = {"id": number, "image_id": image, "category_id": category, "bbox": list(box)}
    return {**named, "area": 7.5, "iscrowd": 0, "segmentation": [], **more}


WHOLE = [
    annotation(5001, 700, 90, 1, 2, 30, 20, segmentation=MASK),
    annotation(12, 700, 17, 10, 5, 20.25, 20, segmentation=[RING], score=0.5),
    annotation(13, "x", 17, 10, 10, 20.123, 20, attributes={"occluded": True}),
    annotation(14, "x", 3, 0, 0, 50, 50, iscrowd=1, segmentation=MASK),
    annotation(15, 700, 90, 0, 0, 9, 9, iscrowd=1, segmentation=MASK),
]


def pictures(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (WIDTH, HEIGHT), (number, 0, 0)).save(folder / name)


def coco_spec(root: Path, annotations: list[Any], **keys: object) -> DataSpec:
    pictures(root / "images", "a.png", "b.png")
    content = {
        "info": INFO, "images": IMAGES, "annotations": annotations, "categories": CATEGORIES
    }  # fmt: skip
    (root / "train.json").write_text(json.dumps(content))
    file = root / "data.yaml"
    file.write_text(yaml.safe_dump({"train": "train.json", "names": ["cat", "dog"], **keys}))
    return read_data(file)


def indices(spec: DataSpec) -> dict[str, ImageIndex]:
    return {split: build_index(spec, split) for split in spec.splits}


def converted(spec: DataSpec, target: str, folder: Path) -> DataSpec:
    folder.mkdir()
    return read_data(write_data_set(spec, indices(spec), target, folder, copy=True))


def content_of(spec: DataSpec) -> dict[str, Any]:
    text = (spec.root / "annotations/train.json").read_text()
    content: dict[str, Any] = json.loads(text)
    return content


def by_id(listed: list[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    return {item["id"]: item for item in listed}


def test_coco_to_coco_keeps_every_record_as_it_stands(tmp_path: Path) -> None:
    spec = coco_spec(tmp_path / "set", WHOLE)
    assert losses(spec, indices(spec), "coco") == []
    content = content_of(converted(spec, "coco", tmp_path / "there"))
    assert by_id(content["annotations"]) == by_id(WHOLE)
    assert by_id(content["images"]) == by_id(IMAGES)
    assert content["categories"] == CATEGORIES
    assert content["info"] == INFO


def test_coco_twice_over_is_read_as_the_same_boxes(tmp_path: Path) -> None:
    spec = coco_spec(tmp_path / "set", WHOLE)
    there = converted(spec, "coco", tmp_path / "there")
    again = converted(there, "coco", tmp_path / "again")
    assert content_of(there) == content_of(again)
    one, other = build_index(spec, "train"), build_index(again, "train")
    assert one.boxes.tolist() == other.boxes.tolist()
    assert [p.rule for p in one.problems] == [p.rule for p in other.problems]


def test_a_box_that_was_cut_is_written_as_cut_and_dropped_ones_are_not(tmp_path: Path) -> None:
    records = [
        annotation(1, 700, 90, 90, 10, 30, 20, score=0.5),
        annotation(2, 700, 90, 0, 0, 0, 9),
        annotation(3, 700, 90, 0.03, 0, 99.99, 50.02),
    ]
    spec = coco_spec(tmp_path / "set", records)
    content = content_of(converted(spec, "coco", tmp_path / "there"))
    cut, whole = content["annotations"]
    assert cut == {**records[0], "bbox": [90, 10, 10, 20]}
    assert whole == records[2]


def test_what_a_record_lacks_is_added_and_ids_become_different(tmp_path: Path) -> None:
    bare = {"image_id": 700, "category_id": 17.0, "bbox": ["1", 2, 3, 4]}
    twins = [annotation(9, 700, 17, 5, 5, n, 5) for n in (5, 6)]
    spec = coco_spec(tmp_path / "set", [bare, *twins])
    first, second, third = content_of(converted(spec, "coco", tmp_path / "there"))["annotations"]
    assert first == annotation(10, 700, 17, 1, 2, 3, 4, area=12)
    assert (second, third["id"]) == (twins[0], 11)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_made_anew(tmp_path: Path, value: float) -> None:
    records = [
        annotation(5, 700, 17, 1, 2, 3, 4, area=value),
        annotation(6, 700, 17, 1, 2, 9, 4, iscrowd=1, area=value),
    ]
    spec = coco_spec(tmp_path / "set", records)
    assert losses(spec, indices(spec), "coco") == [
        "train: 1 crowds: of categories that are no classes, or with values that JSON lacks"
    ]
    content = content_of(converted(spec, "coco", tmp_path / "there"))
    assert content["annotations"] == [annotation(5, 700, 17, 1, 2, 3, 4, area=12)]


def test_joined_with_other_files_ids_are_counted_anew_and_masks_stay(tmp_path: Path) -> None:
    root = tmp_path / "set"
    pictures(root / "more/images", "c.png")
    (root / "more/labels").mkdir()
    (root / "more/labels/c.txt").write_text("1 .5 .5 .1 .1\n")
    spec = coco_spec(root, WHOLE, train=["train.json", "more/images"])
    assert losses(spec, indices(spec), "coco") == [
        "train: 2 images: ids are counted anew in a joined JSON",
        "train: 1 crowds: of categories that are no classes, or with values that JSON lacks",
    ]
    content = content_of(converted(spec, "coco", tmp_path / "there"))
    assert [item["id"] for item in content["images"]] == [1, 2, 3]
    assert [item["id"] for item in content["annotations"]] == [1, 2, 3, 4, 5]
    assert content["categories"][1] == {"id": 2, "name": "dog", "supercategory": ""}
    names = {item["id"]: item["file_name"] for item in content["images"]}
    said = [(names[a["image_id"]], a["category_id"], a["iscrowd"], a["segmentation"])
            for a in content["annotations"]]  # fmt: skip
    assert said == [
        ("a.png", 1, 0, []),
        ("b.png", 2, 0, MASK),
        ("b.png", 1, 0, [RING]),
        ("b.png", 2, 1, MASK),
        ("c.png", 2, 0, []),
    ]


@pytest.mark.parametrize("target", ["yolo", "voc"])
def test_what_only_coco_holds_is_told(tmp_path: Path, target: str) -> None:
    spec = coco_spec(tmp_path / "set", WHOLE)
    lines = losses(spec, indices(spec), target)
    for words in ("2 crowd annotations (iscrowd 1)", "1 run-length masks", "COCO JSON: ids of"):
        assert sum(words in line for line in lines) == 1


OBJECTS = """
  <object>
    <name>cat</name><pose>Left</pose><truncated>1</truncated><difficult>1</difficult>
    <bndbox><xmin>10.0</xmin><ymin>5</ymin><xmax>{}</xmax><ymax>25</ymax></bndbox>
    <part><name>head</name><bndbox><xmin>11</xmin><ymin>6</ymin><xmax>12</xmax><ymax>7</ymax>
    </bndbox></part>
    <actions><running>1</running></actions>
  </object>
  <object>
    <name>unknown</name><pose>Left</pose><difficult>1</difficult>
    <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>
  </object>"""
XML = """<annotation>
  <folder>old</folder><filename>old.jpg</filename><path>C:\\old.jpg</path>
  <source><database>D&amp;B</database></source>
  <size><width>1</width><height>1</height><depth>1</depth></size>
  <segmented>1</segmented>{}
</annotation>"""


def voc_spec(root: Path, objects: str) -> DataSpec:
    pictures(root / "JPEGImages", "a.png", "b.png")
    (root / "Annotations").mkdir()
    (root / "ImageSets").mkdir()
    (root / "Annotations/a.xml").write_text(XML.format(objects))
    (root / "ImageSets/train.txt").write_text("a\nb\n")
    file = root / "data.yaml"
    file.write_text(yaml.safe_dump({"train": "ImageSets/train.txt", "names": ["dog", "cat"]}))
    return read_data(file)


def canonical(text: str) -> str:
    return ElementTree.canonicalize(text, strip_text=True)


@pytest.mark.parametrize(("right", "written"), [(30, 30), (100.05, 100.05), (140, 100)])
def test_voc_to_voc_keeps_every_mark(tmp_path: Path, right: float, written: float) -> None:
    spec = voc_spec(tmp_path / "set", OBJECTS.format(right))
    there = converted(spec, "voc", tmp_path / "there")
    kept = OBJECTS.split("</object>")[0].format(written) + "</object>"
    wanted = (
        "<annotation><folder>JPEGImages</folder><filename>a.png</filename>"
        f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>1</depth></size>"
        "<source><database>D&amp;B</database></source><segmented>1</segmented>"
        f"{kept}</annotation>"
    )
    assert canonical((there.root / "Annotations/a.xml").read_text()) == canonical(wanted)
    assert "<object>" not in (there.root / "Annotations/b.xml").read_text()
    assert build_index(there, "train").boxes.tolist() == build_index(spec, "train").boxes.tolist()
    assert losses(there, indices(there), "voc") == []


@pytest.mark.parametrize("target", ["yolo", "coco"])
def test_what_only_voc_says_is_counted(tmp_path: Path, target: str) -> None:
    spec = voc_spec(tmp_path / "set", OBJECTS.format(30))
    assert losses(spec, indices(spec), target) == [
        "train: 1 × box dropped, as training does",
        "train: 1 objects marked difficult: only Pascal VOC says so",
        "train: 1 objects marked truncated: only Pascal VOC says so",
        "train: 1 objects with a pose: only Pascal VOC says so",
        "train: 1 objects with parts: only Pascal VOC says so",
    ]


def test_what_is_nested_too_deeply_is_left_out(tmp_path: Path) -> None:
    deep = "<a>" * 5000 + "</a>" * 5000
    spec = voc_spec(tmp_path / "set", OBJECTS.format(30).replace("<part>", f"{deep}<part>", 1))
    there = converted(spec, "voc", tmp_path / "there")
    assert len(build_index(there, "train").boxes) == 1
