"""The demo data set on the disk: it agrees with the scenes, and never harms what is there."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from prunus.core.errors import DataError
from prunus.data.scenes import write
from prunus.data.scenes.compose import CLASS_NAMES, Scene, render_scene
from prunus.data.scenes.write import label_text, write_demo


def small_demo(folder: Path, *, seed: int = 0, test: int = 1) -> Path:
    return write_demo(folder, train=3, val=2, test=test, image_size=64, seed=seed)


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    return small_demo(tmp_path / "demo").parent


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_yaml_names_the_splits_and_classes(demo: Path) -> None:
    content = yaml.safe_load((demo / "demo.yaml").read_text(encoding="utf-8"))
    assert content == {
        "path": ".",
        "train": "images/train",
        "val": "images/val",
        "test": "images/test",
        "names": dict(enumerate(CLASS_NAMES)),
    }


def test_every_picture_has_labels_beside_it(demo: Path) -> None:
    for split, count in {"train": 3, "val": 2, "test": 1}.items():
        images = sorted(path.stem for path in (demo / "images" / split).iterdir())
        labels = sorted(path.stem for path in (demo / "labels" / split).iterdir())
        assert images == labels
        assert len(images) == count


def test_files_agree_with_the_scenes(demo: Path) -> None:
    scene = render_scene(0, 1, (64, 64))
    rows = np.loadtxt(demo / "labels/train/train_00001.txt", ndmin=2)
    centre, size = rows[:, 1:3] * 64, rows[:, 3:5] * 64
    found = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    np.testing.assert_allclose(found, scene.boxes_xyxy, atol=1e-3)
    assert rows[:, 0].tolist() == scene.classes.tolist()
    image = cv2.imread(str(demo / "images/train/train_00001.jpg"))[..., ::-1]
    assert image.shape == (64, 64, 3)
    assert np.abs(image.astype(int) - scene.image).mean() < 8, "colours in another order?"


def test_label_line_by_hand() -> None:
    scene = Scene(
        np.zeros((50, 100, 3), dtype=np.uint8),
        np.array([[10, 5, 30, 45]], dtype=np.float32),
        np.array([2], dtype=np.int64),
    )
    assert label_text(scene) == "2 0.200000 0.500000 0.200000 0.800000\n"


def test_splits_share_no_picture_and_do_not_depend_on_each_others_size(tmp_path: Path) -> None:
    one = files(small_demo(tmp_path / "one").parent)
    more = write_demo(tmp_path / "more", train=5, val=2, test=1, image_size=64, seed=0).parent
    pictures = [content for name, content in one.items() if name.endswith(".jpg")]
    assert len(set(pictures)) == 6
    for name, content in files(more).items():
        if "val" in name or "test" in name:
            assert one[name] == content


def test_another_seed_gives_other_pictures(tmp_path: Path, demo: Path) -> None:
    other = small_demo(tmp_path / "other", seed=1).parent
    picture = "images/train/train_00000.jpg"
    assert (other / picture).read_bytes() != (demo / picture).read_bytes()


def test_empty_test_split_is_left_out(tmp_path: Path) -> None:
    target = small_demo(tmp_path, test=0)
    assert "test" not in yaml.safe_load(target.read_text(encoding="utf-8"))
    assert not (tmp_path / "images/test").exists()


def test_complete_demo_is_reused(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(demo)

    def refuse(*_: object) -> Scene:
        raise AssertionError("painted again")

    monkeypatch.setattr(write, "render_scene", refuse)
    assert small_demo(demo) == demo / "demo.yaml"
    assert files(demo) == before


@pytest.mark.parametrize(
    "lost", ["demo.yaml", "images/train/train_00002.jpg", "labels/val/val_00000.txt"]
)
def test_incomplete_demo_is_completed(demo: Path, lost: str) -> None:
    before = files(demo)
    (demo / lost).unlink()
    (demo / "notes.txt").write_text("mine", encoding="utf-8")
    small_demo(demo)
    assert files(demo) == before | {"notes.txt": b"mine"}


def test_interrupted_demo_is_known_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> Scene:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(write, "render_scene", interrupt)
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            small_demo(tmp_path)
    assert small_demo(tmp_path).is_file()


def test_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match=r"holds other things; nothing was written\. Name a new"):
        small_demo(tmp_path)
    assert files(tmp_path) == {"thesis.txt": b"mine"}


def test_demo_with_other_settings_is_left_alone(demo: Path) -> None:
    before = files(demo)
    with pytest.raises(DataError, match=r"another demo \(seed 0 instead of 4\); nothing was"):
        small_demo(demo, seed=4)
    assert files(demo) == before


@pytest.mark.parametrize("marker", ["[]", "{", '"demo"'])
def test_damaged_marker_counts_as_other_things(tmp_path: Path, marker: str) -> None:
    (tmp_path / ".prunus-demo.json").write_text(marker, encoding="utf-8")
    with pytest.raises(DataError, match="holds other things"):
        small_demo(tmp_path)


def test_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="is a file; nothing was written"):
        small_demo(tmp_path / "demo")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"train": 0}, "train must be at least 1, got 0"),
        ({"val": 0}, "val must be at least 1, got 0"),
        ({"test": -1}, "test must be at least 0, got -1"),
        ({"image_size": 63}, "image_size must be at least 64, got 63"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"train": 1_000_001}, "at most 1000000 pictures"),
    ],
)
def test_settings_out_of_range(tmp_path: Path, settings: dict[str, int], words: str) -> None:
    with pytest.raises(DataError, match=words):
        write_demo(tmp_path / "demo", **settings)
    assert not (tmp_path / "demo").exists()


def test_disk_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "_write", full)
    with pytest.raises(DataError, match=r"demo was not written: .*No space left") as caught:
        small_demo(tmp_path / "demo")
    assert "\n" not in str(caught.value)
