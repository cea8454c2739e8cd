"""What is written, by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from prunus.core.records import Detections
from prunus.predict.save import free_names, json_line, to_label_lines, to_record

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
