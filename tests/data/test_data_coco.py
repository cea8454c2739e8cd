"""COCO JSON: which images, which classes, what becomes of crowds, masks and odd entries."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from prunus.core.errors import DataError
from prunus.data.formats import coco, coco_lines
from prunus.data.formats.coco_lines import lines_of
from prunus.data.index import build_index
from prunus.data.spec import read_data

SIDE_H, SIDE_W = 50, 100
CocoWriter = Callable[..., Path]


@pytest.fixture
def coco_set(tmp_path: Path) -> CocoWriter:
    """Write images/a.png, images/b.png, train.json and data.yaml; keywords replace parts."""

    def write(
        annotations: list[dict[str, Any]], *, names: object = ("cat", "dog"), **parts: Any
    ) -> Path:
        (tmp_path / "images").mkdir(exist_ok=True)
        for number, stem in enumerate("ab"):
            pixels = np.random.default_rng(number).integers(0, 255, (SIDE_H, SIDE_W, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / f"{stem}.png")
        content = {
            "images": [
                {"id": 7, "file_name": "a.png", "width": SIDE_W, "height": SIDE_H},
                {"id": "x", "file_name": "b.png"},
            ],
            "annotations": annotations,
            "categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}],
            **parts,
        }
        (tmp_path / "train.json").write_text(json.dumps(content), encoding="utf-8")
        keys = {"train": "train.json"} | ({"names": list(names)} if names else {})  # type: ignore[call-overload]
        (tmp_path / "data.yaml").write_text(yaml.safe_dump(keys), encoding="utf-8")
        return tmp_path / "data.yaml"

    return write


def of(image: object, category: int, *bbox: float, **more: object) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": list(bbox), **more}


def test_the_json_decides_images_boxes_and_outlines(coco_set: CocoWriter) -> None:
    ring = [10, 5, 30, 5, 30, 25]
    file = coco_set(
        [
            of(7, 17, 10, 5, 20, 20, segmentation=[ring, [40, 5, 50, 5, 50, 9, 40, 9]]),
            of("x", 18, 0, 0, 100, 50),
        ]
    )
    Image.new("RGB", (40, 40)).save(file.parent / "images" / "not-listed.png")
    index = build_index(read_data(file), "train")
    assert [path.name for path in index.paths] == ["a.png", "b.png"]
    assert tuple(coco.list_images(file.parent, "train.json")) == index.paths
    np.testing.assert_allclose(index.boxes, [[0, 0.2, 0.3, 0.2, 0.4], [1, 0.5, 0.5, 1, 1]])
    (parts,) = index.outlines_of(0)
    np.testing.assert_allclose(parts[0], [[0.1, 0.1], [0.3, 0.1], [0.3, 0.5]])
    assert len(parts) == 2
    assert index.outlines_of(1) == ((),)
    assert index.problems == ()


def test_crowds_are_left_out_and_counted_and_masks_are_boxed(coco_set: CocoWriter) -> None:
    mask = {"counts": [0, 9], "size": [SIDE_H, SIDE_W]}
    file = coco_set(
        [
            of(7, 17, 0, 0, 50, 25, iscrowd=1, segmentation=mask),
            of(7, 18, 0, 0, 50, 25, iscrowd=0, segmentation=mask),
        ]
    )
    index = build_index(read_data(file), "train")
    np.testing.assert_allclose(index.boxes, [[1, 0.25, 0.25, 0.5, 0.5]])
    assert [str(problem) for problem in index.problems] == [
        "train.json: 1 crowd annotations (iscrowd 1) are not trained on",
        "train.json: 1 run-length masks: their bbox is used",
    ]


def test_names_may_come_from_the_categories_by_rising_id(coco_set: CocoWriter) -> None:
    assert read_data(coco_set([], names=None)).names == ("cat", "dog")


def test_unknown_names_of_the_same_number_go_by_order_and_are_reported(
    coco_set: CocoWriter,
) -> None:
    index = build_index(read_data(coco_set([of(7, 18, 0, 0, 9, 9)], names=("一", "二"))), "train")
    assert index.boxes[0, 0] == 1
    (problem,) = index.problems
    assert "'cat' for '一' and so on" in str(problem)
    assert problem.effect == "kept"


def test_other_names_are_refused_with_the_categories(coco_set: CocoWriter) -> None:
    file = coco_set([], names=("plum",))
    with pytest.raises(DataError, match=r"none of its 2 categories \(cat, dog …\) is among"):
        build_index(read_data(file), "train")


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (of(7, 99, 0, 0, 9, 9), "annotation 2: no category has the id 99: box dropped"),
        (of(7, 17, 0, 0, -9, 9), "annotation 2: width -0.09 and height 0.18 leave no area"),
        (of(7, 17, 0, 0, 9), "annotation 2: bbox has 3 numbers, not 4: box dropped"),
        (of(7, 17, 0, 0, float("nan"), 9), "annotation 2: 0 nan 0.09 nan 0.18 is not finite"),
        (of(7, 17, 0, 0, "w", 9), "annotation 2: could not convert string to float"),
        ({"image_id": 7}, "annotation 2: no 'bbox' or no 'category_id': box dropped"),
        (of(8, 17, 0, 0, 9, 9), "annotation 2: of no image: box dropped"),
        (of([0], 17, 0, 0, 9, 9), "annotation 2: of no image: box dropped"),
        (of(7, float("inf"), 0, 0, 9, 9), "annotation 2: cannot convert float infinity"),  # type: ignore[arg-type]
        (of(7, 10**400, 0, 0, 9, 9), "annotation 2: no category has the id 1000"),
        (of(7, 17, 0, 0, 10**400, 9), "annotation 2: int too large to convert to float"),
        (of(7, 17, 0, 0, 1e300, 1e308), "annotation 2: the box sticks out of the image: cut"),
        (of(7, 17, 0, 0, 9, 9, segmentation=[[1, 1, 9, 1, 1e300, 9]]),
         "annotation 2: segmentation is not finite, or far outside the image: box dropped"),
        (of(7, 17, 0, 0, 9, 9, segmentation=[[1, 1, 9, 1, float("nan"), 9]]),
         "annotation 2: segmentation is not finite, or far outside the image: box dropped"),
        ("not an object", "annotation 2: of no image: box dropped"),
        (of(7, 17, 90, 0, 20, 25), "annotation 2: the box sticks out of the image: cut"),
    ],
)  # fmt: skip
def test_a_bad_annotation_goes_alone_and_is_named(
    coco_set: CocoWriter, annotation: Any, words: str
) -> None:
    index = build_index(read_data(coco_set([of(7, 17, 0, 0, 50, 25), annotation])), "train")
    assert index.boxes[0].tolist() == [0, 0.25, 0.25, 0.5, 0.5]
    assert len(index.boxes) == (2 if "sticks" in words else 1)
    (problem,) = index.problems
    assert str(problem).startswith(f"train.json:1: {words}")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"images": None}, "not a COCO file: it has no lists"),
        ({"images": [{"id": 1}]}, "images: 1 has no 'file_name'"),
        ({"images": [{"id": 1, "file_name": "a.png"}] * 2}, "images: 2 has no 'id', or another"),
        ({"images": [{"id": n, "file_name": "a.png"} for n in (1, 2)]},
         "images: 2 has the 'file_name' of an earlier one; join the two"),
        ({"categories": [{"id": 1}]}, "categories: 1 has no 'name'"),
        ({"images": [{"id": 1, "file_name": "z.png"}]}, "its images were not found; tried /"),
        ({"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "../../../b.png"}]},
         "lies outside the data set's folder"),
    ],
)  # fmt: skip
def test_a_json_of_no_use_is_one_line(
    coco_set: CocoWriter, parts: dict[str, Any], words: str
) -> None:
    file = coco_set([], **parts)
    with pytest.raises(DataError, match=words) as caught:
        build_index(read_data(file), "train")
    assert "\n" not in str(caught.value)


def test_what_is_no_json_is_one_line(coco_set: CocoWriter) -> None:
    file = coco_set([])
    for content in ("[" * 100_000, "{", "[]"):
        (file.parent / "train.json").write_text(content)
        with pytest.raises(DataError, match=r"train.json: (not valid JSON|not a COCO file)"):
            build_index(read_data(file), "train")


def test_an_edited_json_is_read_again(coco_set: CocoWriter) -> None:
    file = coco_set([of(7, 17, 0, 0, 50, 25)])
    build_index(read_data(file), "train")
    coco_set([of(7, 18, 0, 0, 50, 25)])
    assert build_index(read_data(file), "train").boxes[0, 0] == 1


def test_stated_sizes_that_differ_scale_the_boxes_and_are_named(coco_set: CocoWriter) -> None:
    images = [{"id": 7, "file_name": "a.png", "width": 2 * SIDE_W, "height": 2 * SIDE_H}]
    index = build_index(read_data(coco_set([of(7, 17, 0, 0, 100, 50)], images=images)), "train")
    np.testing.assert_allclose(index.boxes, [[0, 0.25, 0.25, 0.5, 0.5]])
    (problem,) = index.problems
    assert "a.png has 100x50 pixels, not 200x100 as stated" in str(problem)


def test_a_side_that_no_picture_has_is_not_taken(coco_set: CocoWriter) -> None:
    images = [{"id": 7, "file_name": "a.png", "width": 10**400, "height": SIDE_H}]
    index = build_index(read_data(coco_set([of(7, 17, 0, 0, 100, 50)], images=images)), "train")
    assert index.boxes.tolist() == [[0, 0.5, 0.5, 1, 1]]


def test_the_images_are_found_when_the_first_of_the_list_are_missing(coco_set: CocoWriter) -> None:
    missing = [{"id": 100 + n, "file_name": f"{n}.png"} for n in range(39)]
    there = [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "b.png"}]
    file = coco_set([of(7, 17, 0, 0, 100, 50)], images=[*missing, *there])
    assert [path.name for path in build_index(read_data(file), "train").paths] == ["a.png", "b.png"]


def test_json_folder_and_list_make_one_split(coco_set: CocoWriter) -> None:
    file = coco_set([of(7, 17, 0, 0, 50, 25)])
    root = file.parent
    for place in ("more/images", "more/labels"):
        (root / place).mkdir(parents=True)
    for stem in ("c", "d"):
        Image.new("RGB", (40, 40)).save(root / f"more/images/{stem}.png")
        (root / f"more/labels/{stem}.txt").write_text("1 .5 .5 .1 .1 \n")
    (root / "more" / "list.txt").write_text("./images/d.png\n")
    (root / "more" / "only").mkdir()
    (root / "more/images/c.png").rename(root / "more/only/c.png")
    (root / "more/labels/c.txt").rename(root / "more/only/c.txt")
    entries = ["more/only", "train.json", "more/list.txt"]
    file.write_text(yaml.safe_dump({"train": entries, "names": ["cat", "dog"]}))
    index = build_index(read_data(file), "train")
    assert [path.name for path in index.paths] == ["a.png", "b.png", "d.png", "c.png"]
    assert index.boxes[:, 0].tolist() == [0, 1, 1]


def test_a_folder_with_roboflows_json_is_known(coco_set: CocoWriter) -> None:
    file = coco_set([of(7, 17, 0, 0, 50, 25)])
    (file.parent / "train.json").rename(file.parent / "images" / "_annotations.coco.json")
    file.write_text("train: images\n")
    spec = read_data(file)
    assert (spec.format, spec.names) == ("coco", ("cat", "dog"))
    assert len(build_index(spec, "train").boxes) == 1


INDENTS = [None, 0, 1, "\t"]


@pytest.mark.parametrize("indent", INDENTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_findings_name_the_line_on_which_the_record_begins(
    coco_set: CocoWriter, indent: int | str | None, encoding: str
) -> None:
    images = [{"id": 7, "file_name": "a.png", "width": 9, "height": 9}]
    bad = [of(7, 17, 0, 0, 9), of(7, 99, 0, 0, 9, 9), of(8, 17, 0, 0, 9, 9)]
    file = coco_set([of(7, 17, 0, 0, 5, 5), *bad], images=images)
    place = file.parent / "train.json"
    content = {"info": {"words": ["}\n{", {}]}, **json.loads(place.read_text())}
    place.write_text(json.dumps(content, indent=indent, ensure_ascii=False) + "\n", encoding)
    lines = place.read_text(encoding).splitlines()
    problems = build_index(read_data(file), "train").problems
    found = {problem.message[:12]: problem.line for problem in problems}
    if indent is None:
        assert set(found.values()) == {1}
    else:
        records = [n for n, line in enumerate(lines) if '"image_id": ' in line]  # behind each {
        (image,) = (n for n, line in enumerate(lines) if '"id": 7' in line)
        assert found == {
            "a.png has 10": image,
            **{f"annotation {n}": line for n, line in enumerate(records[1:], start=2)},
        }


def test_records_on_one_line_each_are_counted_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text('\n{"images":[], "annotations"\n : [1, \n[{"a":"\\n"},\n2], {}\n,3]\n}')
    find = lines_of(file)
    assert [find("annotations", number) for number in range(6)] == [None, 3, 4, 5, 6, None]
    assert find("images", 1) is None
    assert find("categories", 1) is None


@pytest.mark.parametrize(
    "text", ["[1]", '{"a"', '{"images": [1', '{"images": [1,\n 2]', "{}}", "["]
)
def test_a_file_that_changed_meanwhile_has_no_lines(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(f"\n\n{text}")
    assert lines_of(file)("images", 1) is None
    assert lines_of(tmp_path / "none.json")("images", 1) is None


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("text", "walks"), [("{}", 0), ("{} \n \n", 0), ("{ \n}", 1), ("\n{}", 1), ("{}\n", 0)]
)
def test_only_files_of_several_lines_are_walked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, walks: int, chunk: int
) -> None:
    walked = []
    monkeypatch.setattr(coco_lines, "CHUNK_BYTES", chunk)
    monkeypatch.setattr(coco_lines, "_lists", lambda text: walked.append(text) or [])
    file = tmp_path / "x.json"
    file.write_text(text)
    assert lines_of(file)("images", 1) == (None if walks else 1)
    assert len(walked) == walks


def test_lines_are_not_looked_up_where_nothing_was_found(
    coco_set: CocoWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco, "lines_of", lambda file: pytest.fail(f"read {file} again"))
    file = coco_set([of(7, 17, 0, 0, 50, 25), of(7, 17, 0, 0, 9, 9, iscrowd=1)])
    assert len(build_index(read_data(file), "train").boxes) == 1
