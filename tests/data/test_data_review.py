"""What `data check` looks at beyond single boxes."""

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from prunus.data.index import build_index
from prunus.data.problems import Problem, cell, markdown
from prunus.data.review.alike import (
    MOST_BITS,
    MOST_NOISE,
    THUMBNAIL,
    Fingerprints,
    difference_hash,
    fingerprints,
    near_images,
    same_files,
)
from prunus.data.review.balance import absent_classes, class_balance
from prunus.data.review.page import findings_csv, page
from prunus.data.review.sizes import boxes_px, size_facts, tiny_boxes
from prunus.data.review.strays import strays
from prunus.data.rules import COSTLY, RULES
from prunus.data.scenes.compose import render_scene
from prunus.data.spec import DataSpec, read_data
from prunus.train.anchors import box_sizes

Writer = Callable[..., Path]


def test_balance_by_hand(yolo_set: Writer) -> None:
    text = "0 .5 .5 .2 .2\n0 .3 .3 .2 .2\n2 .5 .5 .1 .1"
    index = build_index(read_data(yolo_set({"a": text, "b": "0 .5 .5 .2 .2", "c": ""})), "train")
    assert class_balance(index) == [
        {"class": "ripe", "images": 2, "boxes": 3, "share": 0.75},
        {"class": "green", "images": 0, "boxes": 0, "share": 0.0},
        {"class": "leaf", "images": 1, "boxes": 1, "share": 0.25},
    ]
    (problem,) = absent_classes(Path("d.yaml"), {"train": index, "test": index})
    assert str(problem) == "d.yaml: train: no box of class 'green'"


def test_sizes_by_hand(yolo_set: Writer) -> None:
    text = "0 .5 .5 .5 .5\n0 .3 .3 .01 .4\n0 .5 .5 .1 .1"
    index = build_index(read_data(yolo_set({"a": text}, size_hw=(50, 100))), "train")
    np.testing.assert_allclose(boxes_px(index, 200), [[100, 50], [2, 40], [20, 10]], rtol=1e-5)
    facts = size_facts(index, 200)
    assert [facts[key] for key in ("tiny", "small", "medium", "large")] == [1, 2, 1, 0]
    (problem,) = tiny_boxes(index, 200)
    assert "1 boxes no wider or higher than 2 px at 200" in str(problem)
    assert tiny_boxes(index, 210) == []


def test_sizes_agree_with_those_that_anchors_are_fitted_to(yolo_set: Writer) -> None:
    index = build_index(read_data(yolo_set({"a": "0 .5 .5 .5 .5\n1 .3 .3 .1 .4"})), "train")
    np.testing.assert_array_equal(boxes_px(index, 320), box_sizes(index, 320))


def test_strays_by_hand(yolo_set: Writer) -> None:
    spec = read_data(yolo_set({"a": "0 .5 .5 .2 .2", "b": None}))
    for name in ("lost.txt", "classes.txt"):
        (spec.root / "labels" / name).write_text("")
    assert [str(problem.relative_to(spec.root)) for problem in strays(spec, "train")] == [
        "images/b.png: no label file b.txt: background",
        "labels/lost.txt: no image of this name: ignored",
    ]


def write_scene(folder: Path, name: str, number: int) -> np.ndarray:
    image = render_scene(0, number, (120, 160)).image
    (folder / "labels" / name).with_suffix(".txt").write_text("0 .5 .5 .2 .2")
    cv2.imwrite(str(folder / "images" / name), image[..., ::-1])
    return image


@pytest.fixture
def two_splits(yolo_set: Writer) -> DataSpec:
    spec = read_data(yolo_set({}, train="images/train", val="images/val"))
    for number in range(6):
        for split in ("train", "val"):
            (spec.root / "images" / split).mkdir(exist_ok=True)
            (spec.root / "labels" / split).mkdir(exist_ok=True)
        write_scene(spec.root, f"{'train' if number < 3 else 'val'}/{number}.png", number)
    return spec


def alike(spec: DataSpec) -> list[str]:
    prints = {split: fingerprints(build_index(spec, split), split) for split in spec.splits}
    found = same_files(spec.root, prints) + near_images(spec.root, prints)
    return [f"{problem.rule} {problem.file.name}" for problem in found]


def test_different_scenes_are_not_alike(two_splits: DataSpec) -> None:
    assert alike(two_splits) == []


def test_the_same_bytes_are_found_within_and_across_splits(two_splits: DataSpec) -> None:
    images = two_splits.root / "images"
    content = (images / "train/0.png").read_bytes()
    for name in ("train/again.png", "val/leak.png"):
        (images / name).write_bytes(content)
        (two_splits.root / "labels" / name).with_suffix(".txt").write_text("")
    assert alike(two_splits) == ["image-twice again.png", "split-same-image leak.png"]


ALTERED = {
    "jpeg": lambda p: cv2.imdecode(cv2.imencode(".jpg", p, [1, 30])[1], cv2.IMREAD_COLOR),
    "half": lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "bright": lambda p: cv2.convertScaleAbs(p, alpha=1.1, beta=8),
    "noise": lambda p: np.clip(
        p + np.random.default_rng(0).normal(0, 8, p.shape), 0, 255
    ).astype(np.uint8),
}  # fmt: skip


@pytest.mark.parametrize("how", ALTERED)
@pytest.mark.parametrize("number", range(3))
def test_an_altered_copy_across_splits_is_found(
    two_splits: DataSpec, how: str, number: int
) -> None:
    root = two_splits.root
    picture = cv2.imread(str(root / f"images/train/{number}.png"))
    cv2.imwrite(str(root / "images/val/copy.png"), ALTERED[how](picture))
    (root / "labels/val/copy.txt").write_text("")
    assert alike(two_splits) == ["split-near-image copy.png"]


def prints_of(
    hashes: list[int], thumbnails: np.ndarray, contents: list[int], folder: str
) -> Fingerprints:
    return Fingerprints(
        tuple(Path(f"/{folder}/{number}") for number in range(len(hashes))),
        tuple(bytes([content]) for content in contents),
        np.array(hashes, dtype=np.uint64),
        thumbnails.astype(np.float16),
        (),
    )


def test_near_images_are_those_of_a_search_through_all_pairs() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(4, THUMBNAIL**2))

    def split(count: int, folder: str) -> Fingerprints:
        kind = rng.integers(0, 4, count)
        noise = rng.normal(size=(count, THUMBNAIL**2)) * rng.choice([0.1, 0.5], (count, 1))
        hashes = [1 << int(bit) for bit in rng.integers(0, 64, count)]
        return prints_of(hashes, kinds[kind] + noise, rng.integers(0, 9, count).tolist(), folder)

    a, b = split(700, "a"), split(60, "b")
    expected = {
        b.paths[other]
        for other in range(60)
        for one in range(700)
        if a.contents[one] != b.contents[other]
        and np.sqrt(
            np.mean((a.thumbnails[one].astype(np.float32) - b.thumbnails[other]) ** 2)
        ) <= MOST_NOISE
    }  # fmt: skip
    found = [problem.file for problem in near_images(Path("/"), {"a": a, "b": b})]
    assert 0 < len(expected) < 60
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_a_thousand_frames_of_one_scene_are_told_once_each() -> None:
    flat = np.zeros((1000, THUMBNAIL**2))
    a, b = (prints_of([7] * 1000, flat, [content] * 1000, str(content)) for content in (1, 2))
    found = near_images(Path("/"), {"a": a, "b": b})
    assert len(found) == len({problem.file for problem in found}) == 1000


def test_the_hash_compares_neighbours() -> None:
    rising = np.tile(np.arange(90, dtype=np.uint8), (80, 1))
    assert difference_hash(rising) == 0
    assert difference_hash(np.ascontiguousarray(rising[:, ::-1])) == 2**64 - 1
    assert MOST_BITS < 32, "half of the bits agree by chance"


def test_pictures_that_cannot_be_decoded_are_named(two_splits: DataSpec) -> None:
    file = two_splits.root / "images/train/0.png"
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : -12] = bytes(len(content) - 12 - len(content) // 2)
    file.write_bytes(content)
    prints = fingerprints(build_index(two_splits, "train"), "train")
    (problem,) = prints.damaged
    assert (problem.rule, problem.file.name) == ("image-damaged", "0.png")
    assert len(prints.paths) == 2


HOSTILE = "=cmd|'/c calc'!A1 <script>\x1b[2J\n| x"


def test_nothing_hostile_reaches_terminal_spreadsheet_or_page() -> None:
    problem = Problem(Path(f"{HOSTILE}.png"), None, HOSTILE, "image-kind")
    assert str(problem).isprintable()
    rows = list(csv.reader(io.StringIO(findings_csv([problem]))))
    assert len(rows) == 2
    assert all(word.isprintable() and not word.startswith("=") for word in rows[1])
    facts = {"images": 1, "classes": [{"class": HOSTILE, "boxes": 1}],
             "sizes": {"tiny": 0, "side_px": {"50%": 1.0}}}  # fmt: skip
    text = page(HOSTILE, "fine", {"train": facts}, [problem], [])
    assert "<script>" not in text
    assert "\x1b" not in text
    for line in text.splitlines():
        if line.startswith("|") and "cmd" in line:
            assert line.replace("\\|", "").count("|") == 3


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_formulas_become_text(start: str) -> None:
    assert cell(f"{start}1+1") == f"'{start}1+1"
    assert cell("plum") == "plum"
    assert cell("\t=1") == "\\t=1"


def test_markdown_by_hand() -> None:
    assert markdown("a|b*c<d>&[e]\\") == "a\\|b\\*c&lt;d&gt;&amp;\\[e\\]\\\\"


def test_every_rule_says_what_to_do_and_is_used() -> None:
    source = "".join(
        path.read_text(encoding="utf-8")
        for path in Path(__file__).resolve().parents[2].glob("prunus/**/*.py")
        if path.name != "rules.py"
    )
    for name, rule in RULES.items():
        assert f'"{name}"' in source, f"rule {name} is used nowhere"
        assert rule.advice
    assert "kept" not in COSTLY
    with pytest.raises(ValueError, match="no rule 'none' in"):
        Problem(Path("a"), None, "x", "none")


def test_surrogates_in_names_are_printed() -> None:
    name = os.fsdecode(b"\xff.png")
    assert str(Problem(Path(name), None, "x", "image-kind")) == "\\udcff.png: x"
