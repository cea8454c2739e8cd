"""Tables that name their metric, and pictures that can be opened."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.text import Text

from prunus.core.records import Detections
from prunus.evaluate.average_precision import average_precision
from prunus.evaluate.coco import coco_metrics
from prunus.evaluate.evaluation import ClassMetrics, Evaluation
from prunus.evaluate.intervals import intervals_of
from prunus.evaluate.match import match_images
from prunus.evaluate.plots import NAMED, literal, plot_confusion, plot_curves
from prunus.evaluate.tables import coco_table, count_by_size, speed_table, yolov5_table
from prunus.evaluate.truth import Labels
from prunus.report.training import plot_labels

SMALL, LARGE = (0, 0, 20, 20), (30, 30, 150, 150)


@pytest.fixture
def evaluation() -> Evaluation:
    """One image: a small cat that is found, a large dog that is not."""
    truth = (Labels(np.array([SMALL, LARGE], dtype=np.float32), np.array([0, 1])),)
    detections = (
        Detections(np.array([SMALL], dtype=np.float32), np.array([0.9], np.float32), np.array([0])),
    )
    names = ("cat", "dog")
    matches = match_images(detections, truth)
    figures = average_precision(
        matches.hits, matches.scores, matches.classes, matches.label_classes
    )
    return Evaluation(
        precision=0.5,
        recall=0.5,
        map50=figures.map50,
        map50_95=figures.map50_95,
        confidence=0.25,
        per_class=(
            ClassMetrics("cat", 1, 1, 1.0, 1.0, 0.995, 0.995),
            ClassMetrics("dog", 1, 1, 0.0, 0.0, 0.0, 0.0),
        ),
        coco=coco_metrics(detections, truth, [(200, 200)], names),
        detections=detections,
        labels=2,
        timings_ms={"preprocess": 1.0, "inference": 20.0, "nms": 0.5, "matching": 0, "coco": 0},
        truth=truth,
        names=names,
        figures=figures,
        matches=matches,
    )


def test_both_metrics_are_named(evaluation: Evaluation) -> None:
    ours = yolov5_table("a.pt", evaluation).splitlines()
    assert ours[0] == "a.pt (YOLOv5's metric; P and R at confidence 0.250)"
    assert ours[1].split() == ["class", "images", "labels", "P", "R", "mAP50", "mAP50-95"]
    assert ours[3].split() == ["all", "1", "2", "0.500", "0.500", "0.497", "0.497"]
    cocos = coco_table("a.pt", evaluation).splitlines()
    assert "COCO's metric" in cocos[0]
    assert cocos[1].split() == ["size", "labels", "AP", "AP50", "AP75", "AR"]


def test_cocos_sizes_have_a_row_each(evaluation: Evaluation) -> None:
    rows = {
        line.split()[0]: line.split()[1:] for line in coco_table("", evaluation).splitlines()[3:]
    }
    assert rows["all"] == ["2", "0.500", "0.500", "0.500", "0.500"]
    assert rows["small"] == ["1", "1.000", "-", "-", "1.000"]
    assert rows["medium"] == ["0", "-", "-", "-", "-"]
    assert rows["large"] == ["1", "0.000", "-", "-", "0.000"]


def test_sizes_count_by_area() -> None:
    boxes = np.array([(0, 0, 32, 31), (0, 0, 33, 32), (0, 0, 97, 96)], dtype=np.float32)
    counts = count_by_size([Labels(boxes, np.zeros(3, int)), Labels(boxes[:1], np.zeros(1, int))])
    assert counts == {"small": 2, "medium": 1, "large": 1}


def test_intervals_are_two_more_columns(evaluation: Evaluation) -> None:
    found = intervals_of(evaluation, resamples=20, seed=0)
    rows = yolov5_table("", evaluation, found).splitlines()
    assert rows[4].split()[-2:] == ["0.995-0.995", "0.995-0.995"]
    report = found.as_dict()
    assert report["map50"] == pytest.approx((0.4975, 0.4975))
    assert (report["resamples"], report["seed"], report["coverage"]) == (20, 0, 0.95)


def test_stages_add_up(evaluation: Evaluation) -> None:
    rows = [line.split() for line in speed_table("", evaluation.timings_ms).splitlines()[3:]]
    assert rows == [
        ["preprocess", "1.00"],
        ["inference", "20.00"],
        ["nms", "0.50"],
        ["together", "21.50"],
    ]


@pytest.mark.parametrize("name", ["$_$", "$", "$\\frac$", "a\\$b$c", "$$"])
def test_names_that_look_like_formulas_are_drawn_as_they_are(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    figures = average_precision(
        rng.random((9, 10)) < 0.5, rng.random(9).astype(np.float32), np.zeros(9, int),
        np.zeros(9, int),
    )  # fmt: skip
    plot_curves(tmp_path / "curves.png", figures, [name])
    plot_confusion(tmp_path / "confusion.png", np.ones((2, 2), int), [name])
    plot_labels(tmp_path / "labels.png", np.full((1, 5), 0.5, np.float32), [name])
    text = Text(0, 0, literal(name))
    assert text._preprocess_math(literal(name)) == (name, False)  # type: ignore[attr-defined]


@pytest.mark.parametrize("classes", [0, 2, NAMED + 30])
def test_pictures_of_any_number_of_classes(classes: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, 200 if classes else 0)
    found = rng.integers(0, max(classes, 1), 300)
    figures = average_precision(
        rng.random((300, 10)) < 0.3, rng.random(300).astype(np.float32), found, labels
    )
    names = [f"class {number}" for number in range(classes)]
    plot_curves(tmp_path / "curves.png", figures, names)
    matrix = rng.integers(0, 9, (classes + 1, classes + 1))
    plot_confusion(tmp_path / "confusion.png", matrix, names)
    for name in ("curves.png", "confusion.png"):
        image = cv2.imread(str(tmp_path / name))
        assert image is not None
        assert image.std() > 5
