"""Round trips lose nothing that both formats can say; what they cannot say is counted first."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from prunus.core.errors import DataError
from prunus.data.convert import TARGETS
from prunus.data.convert.images import Names
from prunus.data.convert.run import losses, write_data_set
from prunus.data.convert.yolo import joined
from prunus.data.image_index import ImageIndex
from prunus.data.index import build_index
from prunus.data.labels import pack_outlines
from prunus.data.spec import DataSpec, read_data

Writer = Callable[..., Path]
every_target = pytest.mark.parametrize("target", TARGETS)


def all_splits(spec: DataSpec) -> dict[str, ImageIndex]:
    return {split: build_index(spec, split) for split in spec.splits}


def converted(spec: DataSpec, target: str, folder: Path, *, copy: bool = True) -> DataSpec:
    folder.mkdir()
    return read_data(write_data_set(spec, all_splits(spec), target, folder, copy=copy))


def random_labels(seed: int, *, polygons: bool) -> str:
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(6):
        if polygons and rng.random() < 0.5:
            points = rng.uniform(0, 1, 2 * rng.integers(3, 9))
            lines.append(f"{rng.integers(3)} " + " ".join(f"{value:.7f}" for value in points))
        else:
            centre, size = rng.uniform(0.3, 0.7, 2), rng.uniform(0.01, 0.5, 2)
            numbers = " ".join(f"{value:.7f}" for value in (*centre, *size))
            lines.append(f"{rng.integers(3)} {numbers}")
    return "\n".join(lines)


def assert_same(one: ImageIndex, other: ImageIndex, tolerance: float) -> None:
    assert [path.name for path in one.paths] == [path.name for path in other.paths]
    np.testing.assert_array_equal(one.offsets, other.offsets)
    np.testing.assert_array_equal(one.sizes_hw, other.sizes_hw)
    np.testing.assert_allclose(one.boxes, other.boxes, atol=tolerance, rtol=0)
    for image in range(len(one)):
        for a, b in zip(one.outlines_of(image), other.outlines_of(image), strict=True):
            assert len(a) == len(b)
            for ring, again in zip(a, b, strict=True):
                np.testing.assert_allclose(ring, again, atol=tolerance, rtol=0)
    for a, b in zip(one.paths, other.paths, strict=True):
        assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize("via", TARGETS)
@pytest.mark.parametrize("seed", range(3))
def test_a_round_trip_from_yolo_loses_nothing(
    yolo_set: Writer, tmp_path: Path, via: str, seed: int
) -> None:
    polygons = via != "voc"
    labels: dict[str, str | None] = {
        stem: random_labels(10 * seed + number, polygons=polygons)
        for number, stem in enumerate(("a", "cell 1", "梅"))
    }
    spec = read_data(yolo_set({**labels, "none": "", "unlabelled": None}, size_hw=(37, 61)))
    there = converted(spec, via, tmp_path / "there")
    back = converted(there, "yolo", tmp_path / "back")
    assert back.names == spec.names
    for split in spec.splits:
        assert_same(build_index(spec, split), build_index(back, split), 1e-6)
        assert_same(build_index(spec, split), build_index(there, split), 1e-6)


@every_target
def test_what_is_written_has_no_problems(yolo_set: Writer, tmp_path: Path, target: str) -> None:
    spec = read_data(yolo_set({"a": "0 .5 .5 .2 .2\n9 .5 .5 .2 .2\n1 .95 .5 .2 .2", "b": ""}))
    there = converted(spec, target, tmp_path / "there")
    assert there.format == target
    assert build_index(there, "train").problems == ()
    assert len(build_index(there, "train").boxes) == 2


def test_voc_boxes_by_hand(yolo_set: Writer, tmp_path: Path) -> None:
    spec = read_data(yolo_set({"a": "2 .5 .5 .5 .25"}, size_hw=(48, 64)))
    converted(spec, "voc", tmp_path / "there")
    text = (tmp_path / "there/Annotations/a.xml").read_text()
    for part in ("<name>leaf</name>", "<xmin>16</xmin>", "<ymin>18</ymin>", "<xmax>48</xmax>",
                 "<ymax>30</ymax>", "<width>64</width>", "<height>48</height>"):  # fmt: skip
        assert part in text
    assert (tmp_path / "there/ImageSets/Main/train.txt").read_text() == "a\n"


def test_coco_annotations_by_hand(yolo_set: Writer, tmp_path: Path) -> None:
    spec = read_data(yolo_set({"a": "1 .25 .25 .75 .25 .75 .75"}, size_hw=(48, 64)))
    converted(spec, "coco", tmp_path / "there")
    content = yaml.safe_load((tmp_path / "there/annotations/train.json").read_text())
    (annotation,) = content["annotations"]
    assert annotation == {
        "id": 1,
        "image_id": 1,
        "category_id": 2,
        "bbox": [16, 12, 32, 24],
        "area": 32 * 24 / 2,
        "iscrowd": 0,
        "segmentation": [[16, 12, 48, 12, 48, 36]],
    }
    assert [item["name"] for item in content["categories"]] == ["ripe", "green", "leaf"]


def parts_index() -> ImageIndex:
    """One image with an object in two parts whose box is wider than they are."""
    rings = [np.array(r, np.float32) for r in ([[.1, .1], [.2, .1], [.2, .2]],
                                               [[.3, .3], [.4, .3], [.4, .4]])]  # fmt: skip
    boxes = np.array([[0, 0.25, 0.25, 0.4, 0.3]], np.float32)
    sizes, offsets = np.array([[100, 100]], np.int32), np.array([0, 1])
    return ImageIndex(("a",), (Path("x.png"),), sizes, boxes, offsets, (), pack_outlines([rings]))


def test_what_a_target_cannot_say_is_counted() -> None:
    index = parts_index()
    assert [n for n, _ in TARGETS["yolo"].loses(index, [None])] == [1, 1]
    assert not any(n for n, _ in TARGETS["coco"].loses(index, [None]))
    assert TARGETS["voc"].loses(index, [None]) == [(1, "outlines: Pascal VOC has boxes only")]


def test_parts_are_joined_without_adding_area() -> None:
    (outline,) = parts_index().outlines_of(0)
    third = np.array([[0.6, 0.1], [0.9, 0.1], [0.9, 0.3]], np.float32)
    x, y = joined((*outline, third)).astype(float).T
    area = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    assert area == pytest.approx(2 * 0.1 * 0.1 / 2 + 0.3 * 0.2 / 2, abs=1e-7)


def test_losses_are_told_before_writing(yolo_set: Writer) -> None:
    labels = {"a": "0 .1 .1 .5 .1 .5 .5\n9 .5 .5 .2 .2\n0 .95 .5 .2 .2", "b": "", "c": ""}
    spec = read_data(yolo_set(labels, val=None))
    (spec.root / "images" / "c.png").write_bytes(b"no image")
    lines = losses(spec, {"train": build_index(spec, "train")}, "voc")
    assert sorted(lines) == [
        "train: 1 outlines: Pascal VOC has boxes only",
        "train: 1 × box clipped, as training does",
        "train: 1 × box dropped, as training does",
        "train: 1 × image left out, as training does",
    ]
    assert losses(spec, {}, "coco") == []


def test_images_are_linked_when_asked_and_originals_stay(yolo_set: Writer, tmp_path: Path) -> None:
    spec = read_data(yolo_set({"a": ""}))
    before = (spec.root / "images" / "a.png").read_bytes()
    there = converted(spec, "yolo", tmp_path / "there", copy=False)
    (image,) = build_index(there, "train").paths
    assert image.is_symlink()
    copied = converted(spec, "yolo", tmp_path / "copied")
    (image,) = build_index(copied, "train").paths
    assert not image.is_symlink()
    image.write_bytes(b"changed")
    assert (spec.root / "images" / "a.png").read_bytes() == before


def test_names_are_unique_and_harmless() -> None:
    names = Names()
    given = [
        names.place(Path(path)).name
        for path in ("x/a.jpg", "y/a.png", "y/A.jpg", "x/a.jpg", "z/b\n\x1b.png", "z/ .png")
    ]
    assert given == ["a.jpg", "a_2.png", "A_3.jpg", "a.jpg", "b__.png", "image.png"]


def test_classes_called_alike_are_refused_where_names_count(
    yolo_set: Writer, tmp_path: Path
) -> None:
    spec = read_data(yolo_set({"a": ""}, names=("x", "x")))
    with pytest.raises(DataError, match=r"two classes are called alike; coco knows classes by"):
        converted(spec, "coco", tmp_path / "there")
    converted(spec, "yolo", tmp_path / "other")


def test_a_disk_that_cannot_be_written_is_one_line(yolo_set: Writer, tmp_path: Path) -> None:
    spec = read_data(yolo_set({"a": ""}))
    (tmp_path / "there").write_text("a file")
    with pytest.raises(DataError, match=r"not written: .*Free space, or link"):
        write_data_set(spec, all_splits(spec), "yolo", tmp_path / "there", copy=True)


@pytest.mark.parity
def test_blood_cells_to_yolo_and_back(assets: Path, tmp_path: Path) -> None:
    spec = read_data(assets / "data" / "bccd.yaml")
    there = converted(spec, "yolo", tmp_path / "there")
    back = converted(there, "voc", tmp_path / "back")
    for split in spec.splits:
        assert_same(build_index(spec, split), build_index(back, split), 1e-6)
    xml = (tmp_path / "back/Annotations/BloodImage_00000.xml").read_text()
    original = (assets / "data/bccd/Annotations/BloodImage_00000.xml").read_text()
    first = original.split("<xmin>")[1].split("<")[0]
    assert f"<xmin>{first}</xmin>" in xml


def test_a_turned_picture_keeps_size_and_boxes(yolo_set: Writer, tmp_path: Path) -> None:
    spec = read_data(yolo_set({"a": "0 .25 .5 .2 .4"}))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 40)).save(spec.root / "images" / "a.png", exif=exif)
    there = converted(spec, "coco", tmp_path / "there")
    assert_same(build_index(spec, "train"), build_index(there, "train"), 1e-6)
    assert build_index(there, "train").problems == ()


@every_target
def test_a_folder_with_old_images_is_refused(yolo_set: Writer, tmp_path: Path, target: str) -> None:
    spec = read_data(yolo_set({"a": "0 .5 .5 .2 .2"}))
    there = converted(spec, target, tmp_path / "there")
    there.path.unlink()
    before = sorted((tmp_path / "there").rglob("*"))
    with pytest.raises(DataError, match=r"is there already, whole or half written\. Remove it"):
        write_data_set(spec, all_splits(spec), target, there.root, copy=True)
    assert sorted((tmp_path / "there").rglob("*")) == before
