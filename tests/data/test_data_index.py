import hashlib
import logging
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prunus.core.errors import DataError
from prunus.data.index import ImageIndex, build_index
from prunus.data.labels import Polygons
from prunus.data.problems import Problem
from prunus.data.spec import read_data

Writer = Callable[..., Path]


def fingerprints(folder: Path) -> dict[Path, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_packs_sizes_and_boxes_in_the_order_of_the_paths(yolo_set: Writer) -> None:
    labels = {"c": "0 .5 .5 .2 .2\n1 .3 .3 .2 .2", "a": "", "b": "2 .5 .5 1 1"}
    index = build_index(read_data(yolo_set(labels, size_hw=(48, 64))), "train")
    assert [path.stem for path in index.paths] == ["a", "b", "c"]
    assert index.sizes_hw.tolist() == [[48, 64]] * 3
    assert index.offsets.tolist() == [0, 0, 1, 3]
    assert index.boxes_of(0).shape == (0, 5)
    np.testing.assert_allclose(index.boxes_of(1), [[2, 0.5, 0.5, 1, 1]])
    assert index.boxes_of(2)[:, 0].tolist() == [0, 1]
    assert index.summary() == (
        "3 images (1 without objects), 3 boxes in 3 of 3 classes, 0 problems"
    )


def test_the_record_refuses_arrays_that_do_not_match() -> None:
    boxes, offsets = np.zeros((2, 5), np.float32), np.array([0, 1])
    with pytest.raises(ValueError, match="do not match offsets ending in 1"):
        ImageIndex(("a",), (Path("x"),), np.ones((1, 2), np.int32), boxes, offsets)
    with pytest.raises(ValueError, match="1 paths do not match"):
        ImageIndex(("a",), (Path("x"),), np.ones((2, 2), np.int32), boxes[:1], offsets)


def test_images_that_cannot_be_used_are_left_out_and_named(yolo_set: Writer) -> None:
    spec = read_data(yolo_set(dict.fromkeys("abcdefgh", "0 .5 .5 .2 .2")))
    folder = spec.root / "images"
    whole = (folder / "a.png").read_bytes()
    (folder / "a.png").write_bytes(whole[: len(whole) // 2])
    (folder / "b.png").write_bytes(b"")
    (folder / "c.png").write_bytes(b"GIF89a" + bytes(100))
    Image.new("RGB", (9, 40)).save(folder / "d.png")
    (folder / "e.png").unlink()
    os.mkfifo(folder / "e.png")
    (spec.root / "labels" / "f.txt").write_bytes(b"\xff\xfe")
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + whole[24:29]
    check = struct.pack(">I", zlib.crc32(header))
    (folder / "g.png").write_bytes(whole[:12] + header + check + whole[33:])

    index = build_index(spec, "train")

    assert [path.stem for path in index.paths] == ["h"]
    assert [str(problem) for problem in index.problems] == [
        "images/a.png: the PNG ends early, its last part is missing: image left out",
        "images/b.png: an empty file: image left out",
        "images/c.png: no image of a known kind (JPEG, PNG, BMP, WEBP, TIFF): image left out",
        "images/d.png: 9x40 pixels, less than 10 on a side: image left out",
        "images/e.png: no regular file: image left out",
        "labels/f.txt: not a text file: its image is left out",
        "images/g.png: over 170 megapixels: image left out",
    ]


def test_the_users_files_stay_as_they_are(yolo_set: Writer) -> None:
    spec = read_data(yolo_set({"a": "0 .5 .5 .2 .2\n9 .5 .5 .2 .2", "b": "0 2 2 2 2"}))
    (spec.root / "images" / "c.jpg").write_bytes(b"\xff\xd8\xff broken")
    before = fingerprints(spec.root)
    build_index(spec, "train")
    assert fingerprints(spec.root) == before


def test_an_edited_label_is_noticed_though_its_size_is_the_same(yolo_set: Writer) -> None:
    spec = read_data(yolo_set({"a": "1 .5 .5 .2 .2"}))
    build_index(spec, "train")
    (spec.root / "labels" / "a.txt").write_text("2 .5 .5 .2 .2", encoding="utf-8")
    assert build_index(spec, "train").boxes[0, 0] == 2


def test_missing_labels_print_the_paths_tried_and_the_nearest_file(yolo_set: Writer) -> None:
    spec = read_data(yolo_set(dict.fromkeys("abcd")))
    elsewhere = spec.root / "annotations" / "a.txt"
    elsewhere.parent.mkdir()
    elsewhere.write_text("0 .5 .5 .2 .2", encoding="utf-8")
    tried = ", ".join(str(spec.root / "labels" / f"{name}.txt") for name in "abc")
    words = f"4 of 4 images have no labels; looked for {tried} …. There is {elsewhere}."
    with pytest.raises(DataError) as caught:
        build_index(spec, "train")
    assert words in str(caught.value)
    assert "write empty label files" in str(caught.value)


def test_half_the_images_may_be_background(yolo_set: Writer) -> None:
    index = build_index(read_data(yolo_set({"a": "0 .5 .5 .2 .2", "b": None})), "train")
    assert len(index) == 2


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({}, "val: no images in .*/images. Known are .jpg, .jpeg"),
        ({"a": "7 .5 .5 .2 .2"}, r"all 1 boxes were dropped; labels/a.txt:1: class 7"),
    ],
)
def test_a_split_of_no_use_is_an_error(
    yolo_set: Writer, labels: dict[str, str], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        build_index(read_data(yolo_set(labels)), "val")


def test_a_split_of_broken_images_only_is_an_error(yolo_set: Writer) -> None:
    spec = read_data(yolo_set({"a": ""}))
    (spec.root / "images" / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"none of 1 images can be used; images/a.png: no image"):
        build_index(spec, "val")


def test_an_entry_that_is_missing_names_yaml_split_and_path(yolo_set: Writer) -> None:
    spec = read_data(yolo_set({"a": ""}, val="pictures/val"))
    with pytest.raises(DataError, match=r"data.yaml: val: .*/pictures/val: no such file or folder"):
        build_index(spec, "val")


def test_problems_are_logged_few_and_counted(
    yolo_set: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    bad = "\n".join(f"{number} .5 .5 .2 .2" for number in range(3, 9))
    with caplog.at_level(logging.INFO, logger="prunus"):
        build_index(read_data(yolo_set({"a": "0 .5 .5 .2 .2\n" + bad})), "train")
    assert caplog.text.count("box dropped") == 3
    assert "3 more problems; `prunus data check` lists them" in caplog.text


def test_odd_names_are_read_and_printed_harmlessly(yolo_set: Writer) -> None:
    name = "梅 \x1b[2J\n🍒"
    index = build_index(read_data(yolo_set({name: "0 .5 .5 .2 .2\n5 .5 .5 .2 .2"})), "train")
    assert len(index) == 1
    text = str(index.problems[0])
    assert text.isprintable()
    assert text.startswith(r"labels/梅 \x1b[2J\n🍒.txt:2: class 5")


def test_an_image_listed_twice_counts_once(yolo_set: Writer) -> None:
    spec = read_data(yolo_set({"a": ""}, train=["images", "images"]))
    assert len(build_index(spec, "train")) == 1


def test_a_ring_of_links_does_not_trap_the_search(yolo_set: Writer) -> None:
    spec = read_data(yolo_set({"a": ""}))
    (spec.root / "images" / "again").symlink_to(spec.root / "images", target_is_directory=True)
    assert len(build_index(spec, "train")) == 1


def test_a_finding_is_named_relative_to_the_data_set() -> None:
    problem = Problem(Path("/set/labels/a.txt"), 3, "wrong", "box-class")
    assert str(problem.relative_to(Path("/set"))) == "labels/a.txt:3: wrong"
    assert problem.relative_to(Path("/other")) is problem


def test_a_subset_takes_boxes_and_outlines_along(yolo_set: Writer) -> None:
    labels = {
        "a": "0 .1 .1 .5 .1 .5 .5\n1 .5 .5 .2 .2",
        "b": "2 .2 .2 .3 .2 .3 .3",
        "c": "1 .4 .4 .8 .4 .8 .8",
        "d": "",
    }
    index = build_index(read_data(yolo_set(labels)), "train")
    part = index.subset([2, 3, 0])
    assert [path.stem for path in part.paths] == ["c", "d", "a"]
    assert part.offsets.tolist() == [0, 1, 1, 3]
    for new, old in enumerate([2, 3, 0]):
        np.testing.assert_array_equal(part.boxes_of(new), index.boxes_of(old))
        for one, other in zip(part.outlines_of(new), index.outlines_of(old), strict=True):
            np.testing.assert_array_equal(one, other)
    assert len(index.subset([])) == 0


def test_outlines_of_other_boxes_are_refused(yolo_set: Writer) -> None:
    index = build_index(read_data(yolo_set({"a": "0 .1 .1 .5 .1 .5 .5\n1 .5 .5 .2 .2"})), "train")
    with pytest.raises(ValueError, match="outlines of 2 boxes, but 1 boxes"):
        replace(index, boxes=index.boxes[:1], offsets=np.array([0, 1]))


def test_packed_outlines_check_themselves() -> None:
    points, rings = np.zeros((3, 2), np.float32), np.array([0, 3])
    with pytest.raises(ValueError, match="rings end at 4 instead of 3"):
        Polygons(points, np.array([0, 4]), np.array([0, 1]))
    with pytest.raises(ValueError, match="boxes must rise from 0"):
        Polygons(points, rings, np.array([0, 1, 0]))
    with pytest.raises(ValueError, match="are no x, y pairs"):
        Polygons(np.zeros((3, 3), np.float32), rings, np.array([0, 1]))
