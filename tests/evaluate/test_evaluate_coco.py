"""COCO's twelve: cases whose answer is known without computing."""

import numpy as np
import pytest

from prunus.core.records import Detections
from prunus.evaluate.coco import CocoMetrics, coco_metrics
from prunus.evaluate.truth import Labels

NAMES = ("cat", "dog", "owl")
SIZES = [(200, 300), (200, 300)]
KEYS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


def labels(*rows: tuple[float, ...]) -> Labels:
    """Rows: left, top, right, bottom, class."""
    values = np.array(rows, dtype=np.float32).reshape(-1, 5)
    return Labels(values[:, :4], values[:, 4].astype(np.int64))


def detections(*rows: tuple[float, ...]) -> Detections:
    """Rows: left, top, right, bottom, score, class."""
    values = np.array(rows, dtype=np.float32).reshape(-1, 6)
    return Detections(values[:, :4], values[:, 4], values[:, 5].astype(np.int64))


SMALL = (10, 10, 30, 30)
MEDIUM = (10, 10, 60, 60)
LARGE = (10, 10, 150, 150)


def test_perfect_detections_reach_one_in_every_size() -> None:
    truth = [labels((*SMALL, 0), (*LARGE, 2)), labels((*MEDIUM, 2))]
    found = [detections((*SMALL, 0.9, 0), (*LARGE, 0.8, 2)), detections((*MEDIUM, 0.7, 2))]
    metrics = coco_metrics(found, truth, SIZES, NAMES).as_dict()
    assert list(metrics) == KEYS
    assert metrics == pytest.approx(dict.fromkeys(KEYS, 1.0))


def test_sizes_without_ground_truth_are_none() -> None:
    metrics = coco_metrics(
        [detections((*SMALL, 0.9, 0))] * 2, [labels((*SMALL, 0))] * 2, SIZES, NAMES
    )
    missing = [key for key, value in metrics.as_dict().items() if value is None]
    assert missing == ["APm", "APl", "ARm", "ARl"]


def test_half_found_and_a_box_of_iou_seven_tenths() -> None:
    # One of two labels found with IoU .70 (hit at .50 ... .70, 5 of 10 thresholds): recall .5, so
    # 51 of COCO's 101 recall points have precision 1.
    truth = [labels((0, 0, 100, 100, 1)), labels((0, 0, 100, 100, 1))]
    found = [detections((0, 0, 100, 70.1, 0.9, 1)), detections()]
    metrics = coco_metrics(found, truth, SIZES, NAMES).as_dict()
    assert metrics["AP50"] == pytest.approx(51 / 101)
    assert metrics["AP"] == pytest.approx(51 / 101 / 2)
    assert metrics["AP75"] == 0
    assert metrics["AR100"] == pytest.approx(0.25)


def test_a_detection_of_the_wrong_class_or_image_finds_nothing() -> None:
    truth = [labels((*LARGE, 0)), labels()]
    found = [detections((*LARGE, 0.9, 1)), detections((*LARGE, 0.9, 0))]
    assert coco_metrics(found, truth, SIZES, NAMES).AP == 0


def test_takes_the_next_best_label_where_yolov5_does_not() -> None:
    # Two labels, two boxes that are both nearest to the first one (see test_evaluate_match).
    truth = [labels((0, 0, 100, 100, 0), (0, 0, 100, 80, 0))]
    found = [detections((0, 0, 100, 100, 0.9, 0), (0, 0, 100, 95, 0.8, 0))]
    metrics = coco_metrics(found, truth, SIZES[:1], NAMES).as_dict()
    assert metrics["AP50"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("found", "truth", "expected"),
    [(detections(), labels((*SMALL, 0)), 0.0), (detections((*SMALL, 0.9, 0)), labels(), None)],
)
def test_empty_cases(found: Detections, truth: Labels, expected: float | None) -> None:
    assert coco_metrics([found], [truth], SIZES[:1], NAMES).as_dict()["AP"] == expected


def test_no_images_at_all() -> None:
    assert coco_metrics([], [], [], NAMES) == CocoMetrics(*[None] * 12)


def test_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    coco_metrics([detections((*SMALL, 0.9, 0))], [labels((*SMALL, 0))], SIZES[:1], NAMES)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
