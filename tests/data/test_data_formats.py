"""The contract that every row of FORMATS keeps, then each format's own rules."""

import os
from pathlib import Path

import numpy as np
import pytest

from prunus.core.errors import DataError
from prunus.data.checks import MAX_LABEL_BYTES
from prunus.data.formats import FORMATS, Format, voc, yolo
from prunus.data.problems import RuleError

every_format = pytest.mark.parametrize("kind", FORMATS.values(), ids=FORMATS.keys())
NAMES = ("ripe", "green", "leaf")
SIZE = (100, 200)


@every_format
def test_a_missing_entry_names_the_path_tried(kind: Format, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path}/none: no such file or folder"):
        kind.open(tmp_path, "none", NAMES)
    with pytest.raises(DataError, match=rf"{tmp_path}/none: no such file or folder"):
        kind.list_images(tmp_path, "none")


per_image_format = pytest.mark.parametrize(
    "kind", [FORMATS[name] for name in ("yolo", "voc")], ids=["yolo", "voc"]
)


@per_image_format
def test_a_missing_label_file_is_background(kind: Format, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    source = kind.open(tmp_path, ".", NAMES)
    labels = source.read(source.images[0], SIZE)
    assert labels.rows.shape == (0, 5)
    assert labels.rows.dtype == np.float32
    assert labels.problems == []


@per_image_format
def test_finds_images_in_folders_at_any_depth(kind: Format, tmp_path: Path) -> None:
    wanted = {tmp_path / "a" / "x.jpg", tmp_path / "a" / "b" / "梅.PNG", tmp_path / "a" / "y.gif"}
    (tmp_path / "a" / "b").mkdir(parents=True)
    for file in (*wanted, tmp_path / "a" / "notes.txt"):
        file.touch()
    assert set(kind.open(tmp_path, "a", NAMES).images) == wanted
    assert set(kind.list_images(tmp_path, "a")) == wanted


@per_image_format
def test_labels_never_lie_where_the_image_lies(kind: Format, tmp_path: Path) -> None:
    image = Path("/set/images/JPEGImages/a.jpg")
    assert kind.open(tmp_path, ".", NAMES).label_file(image) != image


@per_image_format
@pytest.mark.parametrize("odd", ["folder", "pipe", "huge"])
def test_odd_label_files_are_refused_unopened(kind: Format, odd: str, tmp_path: Path) -> None:
    source = kind.open(tmp_path, ".", NAMES)
    image = tmp_path / "a.jpg"
    file = source.label_file(image)
    if odd == "folder":
        file.mkdir()
    elif odd == "pipe":
        os.mkfifo(file)
    else:
        with file.open("wb") as stream:
            stream.truncate(MAX_LABEL_BYTES + 1)
    with pytest.raises(RuleError, match=r"no regular file|more than the 64 MB"):
        source.read(image, SIZE)


def read_yolo(folder: Path, text: str | bytes) -> tuple[np.ndarray, list[str]]:
    file = folder / "a.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    labels = yolo.read_labels(file, SIZE, NAMES)
    return labels.rows, [str(problem).replace(f"{folder}/", "") for problem in labels.problems]


def test_the_last_images_folder_becomes_labels() -> None:
    label = yolo.label_file(Path("/images/set/images/train/a.b.jpg"))
    assert label == Path("/images/set/labels/train/a.b.txt")
    assert yolo.label_file(Path("/set/a.jpg")) == Path("/set/a.txt")
    assert yolo.label_file(Path("/set/myimages/images.jpg")) == Path("/set/myimages/images.txt")


def test_reads_boxes_and_polygons_on_any_line_ending(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf1 0.5 0.5 0.2 0.4\r\n\r\n2 .1 .2 .5 .2 .5 .6\r\n"
    rows, problems = read_yolo(tmp_path, text)
    np.testing.assert_allclose(rows, [[1, 0.5, 0.5, 0.2, 0.4], [2, 0.3, 0.4, 0.4, 0.4]], rtol=1e-6)
    assert problems == ["a.txt:1: 5 columns in a file with polygons: read as a box"]


def test_outlines_are_kept_beside_the_boxes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 .5 .5 .2 .2\n1 .1 .2 .5 .2 .5 .6\n", encoding="utf-8")
    labels = yolo.read_labels(tmp_path / "a.txt", SIZE, NAMES)
    box, polygon = labels.outlines
    assert box == ()
    np.testing.assert_allclose(polygon[0], [[0.1, 0.2], [0.5, 0.2], [0.5, 0.6]])


def test_two_polygons_with_one_extent_are_two_objects(tmp_path: Path) -> None:
    rows, problems = read_yolo(tmp_path, "0 .1 .1 .5 .1 .5 .5\n0 .1 .1 .1 .5 .5 .5\n")
    assert len(rows) == 2
    assert problems == []


def test_a_polygon_with_nan_is_dropped_whatever_its_place(tmp_path: Path) -> None:
    rows, problems = read_yolo(tmp_path, "0 .1 .1 .5 nan .5 .5\n")
    assert len(rows) == 0
    assert problems == ["a.txt:1: the polygon is not finite: box dropped"]


GOOD = "0 .5 .5 .2 .2"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("7 .5 .5 .2 .2", "class 7, but the data set has 3 classes (0-2): box dropped"),
        ("3 .5 .5 .2 .2", "class 3, but the data set has 3 classes (0-2): box dropped"),
        ("-1 .5 .5 .2 .2", "class -1, but the data set has 3 classes (0-2): box dropped"),
        ("1.5 .5 .5 .2 .2", "class 1.5 is not a whole number: box dropped"),
        ("0 nan .5 .2 .2", "0 nan 0.5 0.2 0.2 is not finite: box dropped"),
        ("0 .5 .5 inf .2", "0 0.5 0.5 inf 0.2 is not finite: box dropped"),
        ("0 .5 .5 0 .2", "width 0 and height 0.2 leave no area: box dropped"),
        ("0 .5 .5 .2 -.2", "width 0.2 and height -0.2 leave no area: box dropped"),
        ("0 .5 .5 .2", "4 columns, but a box has 5"),
        ("0 .5 .5 .2 .2 .9", "6 columns, but a box has 5"),
        ("0 .1 .1 .2 .2 .3 .3 .4", "8 columns, but a box has 5"),
        ("plum .5 .5 .2 .2", "not all columns are numbers: box dropped"),
        ("0 320 240 50 50", "box 320 240 50 50 lies outside the image; coordinates are shares"),
        ("0 1.5 .5 .2 .2", "box 1.5 0.5 0.2 0.2 lies outside the image: box dropped"),
        (GOOD, "the same box again: box dropped"),
    ],
)
def test_a_bad_line_goes_alone_and_is_named(tmp_path: Path, line: str, words: str) -> None:
    rows, problems = read_yolo(tmp_path, f"{GOOD}\n{line}\n1 .3 .3 .1 .1\n")
    np.testing.assert_allclose(rows, [[0, 0.5, 0.5, 0.2, 0.2], [1, 0.3, 0.3, 0.1, 0.1]], rtol=1e-6)
    assert len(problems) == 1
    assert problems[0].startswith(f"a.txt:2: {words}")


def test_a_box_that_sticks_out_is_cut_and_named(tmp_path: Path) -> None:
    rows, problems = read_yolo(tmp_path, "0 .95 .5 .2 .2")
    np.testing.assert_allclose(rows, [[0, 0.925, 0.5, 0.15, 0.2]], rtol=1e-6)
    assert problems == ["a.txt:1: the box sticks out of the image: cut at its border"]


def test_a_box_that_sticks_out_by_rounding_stays_to_the_bit(tmp_path: Path) -> None:
    rows, problems = read_yolo(tmp_path, "0 .9004 .5 .2 .2")
    assert rows.tolist() == np.float32([[0, 0.9004, 0.5, 0.2, 0.2]]).tolist()
    assert problems == []


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a text file"):
        read_yolo(tmp_path, b"\xff\xfe\x00\x80")


def test_a_list_is_read_beside_itself_and_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "lists").mkdir()
    (tmp_path / "images" / "a.jpg").touch()
    (tmp_path / "lists" / "train.txt").write_text(
        f"images/a.jpg\n./b.jpg\n\n../images/c.jpg\n{tmp_path}/images/d.jpg\n", encoding="utf-8"
    )
    found = yolo.list_images(tmp_path, "lists/train.txt")
    names = ["images/a.jpg", "lists/b.jpg", "images/c.jpg", "images/d.jpg"]
    assert found == [tmp_path / name for name in names]


def test_a_list_cannot_leave_the_data_set(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a.jpg\n../../etc/shadow.png\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"train.txt:2: '.*/../../etc/shadow.png' lies outside"):
        yolo.list_images(tmp_path, "train.txt")


XML = "<annotation>{}</annotation>"
OBJECT = (
    "<object><name>{}</name><difficult>1</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin>"
    "<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)


def read_voc(folder: Path, text: str) -> tuple[np.ndarray, list[str]]:
    file = folder / "a.xml"
    file.write_text(text, encoding="utf-8")
    labels = voc.read_labels(file, SIZE, NAMES)
    return labels.rows, [str(problem).replace(f"{folder}/", "") for problem in labels.problems]


def test_voc_edges_become_shares(tmp_path: Path) -> None:
    rows, problems = read_voc(tmp_path, XML.format(OBJECT.format("green", 20, 10, 60, 30)))
    np.testing.assert_allclose(rows, [[1, 0.2, 0.2, 0.2, 0.2]], rtol=1e-6)
    assert problems == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (OBJECT.format("grene", 1, 1, 9, 9), "class 'grene' is not among the data set's names"),
        (OBJECT.format("leaf", 5, 5, 5, 5), "width 0 and height 0 leave no area: box dropped"),
        (OBJECT.format("leaf", "x", 5, 9, 9), "xmin is no number: box dropped"),
        ("<object><name>leaf</name></object>", "xmin is missing: box dropped"),
    ],
)
def test_a_bad_object_goes_alone_and_is_named(tmp_path: Path, bad: str, words: str) -> None:
    good = OBJECT.format("ripe", 20, 10, 60, 30)
    rows, problems = read_voc(tmp_path, XML.format(f"\n{good}\r\n<!--\n-->{bad}"))
    assert rows.shape == (1, 5)
    assert len(problems) == 1
    assert problems[0].startswith(f"a.xml:4: object 2: {words}")


def test_xml_entities_are_never_expanded(tmp_path: Path) -> None:
    text = '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>'
    with pytest.raises(DataError, match="declares XML entities"):
        read_voc(tmp_path, text)
    with pytest.raises(DataError, match="not valid XML"):
        read_voc(tmp_path, "<annotation>")


def test_voc_stems_find_their_images_beside_the_lists(tmp_path: Path) -> None:
    home = tmp_path / "VOC2007"
    (home / "ImageSets" / "Main").mkdir(parents=True)
    (home / "JPEGImages").mkdir()
    (home / "JPEGImages" / "b.png").touch()
    entry = "VOC2007/ImageSets/Main/train.txt"
    (tmp_path / entry).write_text("a\nb  -1\nc.jpg\n", encoding="utf-8")
    images = voc.list_images(tmp_path, entry)
    assert images == [home / "JPEGImages" / name for name in ("a.jpg", "b.png", "c.jpg")]
    assert voc.label_file(images[0]) == home / "Annotations" / "a.xml"


def test_a_voc_stem_cannot_leave_its_folder(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("../../etc/passwd", encoding="utf-8")
    with pytest.raises(DataError, match=r"train.txt:1: '../../etc/passwd' is no plain image name"):
        voc.list_images(tmp_path, "train.txt")
