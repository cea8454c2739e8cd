"""What is written, by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunus.core.records import Detections
from prunus.predict.save import FreeNames, free_names, json_line, to_label_lines, to_record

FOUND = Detections(
    np.array([[100, 50, 300, 150], [0, 0, 1, 2]], np.float32),
    np.array([0.875, 0.3333333], np.float32),
    np.array([2, 0], np.int64),
)
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def test_label_lines_by_hand() -> None:
    lines = to_label_lines(FOUND, (200, 400), with_scores=False)
    assert lines == "2 0.5 0.5 0.5 0.5\n0 0.00125 0.005 0.0025 0.01\n"


def test_label_lines_with_scores() -> None:
    lines = to_label_lines(FOUND, (200, 400), with_scores=True).splitlines()
    assert lines == ["2 0.5 0.5 0.5 0.5 0.875", "0 0.00125 0.005 0.0025 0.01 0.333333"]
    assert to_label_lines(NOTHING, (200, 400), with_scores=True) == ""


@pytest.mark.parametrize("seed", range(3))
def test_label_lines_hold_the_boxes_to_six_digits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(0, 300, (5, 2, 2)), axis=1).reshape(5, 4).astype(np.float32)
    detections = Detections(corners, np.full(5, 0.5, np.float32), np.zeros(5, np.int64))
    text = to_label_lines(detections, (300, 300), with_scores=False)
    rows = np.array([[float(word) for word in line.split()[1:]] for line in text.splitlines()])
    back = np.hstack((rows[:, :2] - rows[:, 2:] / 2, rows[:, :2] + rows[:, 2:] / 2)) * 300
    np.testing.assert_allclose(back, corners, atol=1e-3)


def test_json_lines_by_hand() -> None:
    records = [
        to_record("a/ä.jpg", (200, 400), FOUND, ("RBC", "WBC", "Platelets")),
        to_record("b.mp4", (10, 20), NOTHING, ("RBC",), (50, 2.00049)),
    ]
    first, second = map(json_line, records)
    assert first.endswith("}\n")
    assert json.loads(first) == {
        "image": "a/ä.jpg",
        "size_hw": [200, 400],
        "detections": [
            {"class": 2, "name": "Platelets", "score": 0.875, "box_xyxy": [100, 50, 300, 150]},
            {"class": 0, "name": "RBC", "score": 0.3333, "box_xyxy": [0, 0, 1, 2]},
        ],
    }
    assert json.loads(second) == {
        "image": "b.mp4", "frame": 50, "seconds": 2.0, "size_hw": [10, 20], "detections": []
    }  # fmt: skip


def test_images_of_one_name_do_not_overwrite_each_other() -> None:
    paths = [Path(p) for p in ("a/1.jpg", "b/1.jpg", "c/1.png", "a/1-2.jpg", "2.jpg")]
    names = list(free_names(paths))
    assert names[0] == "1"
    assert names[-1] == "2"
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (("a.mp4", "a_000001.jpg"), ["a", "a_000001-2"]),
        (("a_000001.jpg", "a.mp4"), ["a_000001", "a-2"]),
        (("a.part2.mp4", "a.mp4", "b.mp4", "b.part2.mp4"), ["a.part2", "a-2", "b", "b.part2-2"]),
        (("a_0001.jpg", "a.mp4", "a_1234567.png"), ["a_0001", "a", "a_1234567-2"]),
        (("a.jpg", "a_000001.jpg", "a.mp4"), ["a", "a_000001", "a-2"]),
        (("a.mp4", "a.mp4", "a-2_000003.jpg"), ["a", "a-2", "a-2_000003-2"]),
    ],
)
def test_a_video_s_frames_and_parts_have_names_of_their_own(
    sources: tuple[str, ...], names: list[str]
) -> None:
    free = FreeNames()
    paths = map(Path, sources)
    assert [free.of(path.stem, video=path.suffix == ".mp4") for path in paths] == names


@given(
    st.lists(
        st.tuples(st.from_regex(r"[ab](_00000[01]|\.part2|-2)?", fullmatch=True), st.booleans()),
        max_size=12,
    )
)
def test_no_file_of_any_two_sources_has_one_name(sources: list[tuple[str, bool]]) -> None:
    """All that pictures and videos of two frames and two parts may be called."""
    free, files = FreeNames(), list[str]()
    for stem, video in sources:
        name = free.of(stem, video=video)
        own = [f"{name}_{frame:06d}_1" for frame in range(2)] if video else [f"{name}_1"]
        files += [name, *own, *([f"{name}.part2"] if video else [])]
    assert len(files) == len(set(files))
