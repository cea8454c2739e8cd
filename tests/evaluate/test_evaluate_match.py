"""Matching: YOLOv5's rule by hand, and against its wording carried out literally."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from prunus.core.boxes import pairwise_iou
from prunus.evaluate.match import IOU_THRESHOLDS, match_detections

LABEL = [0.0, 0.0, 10.0, 10.0]


def boxes(*rows: list[float]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def classes(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def literal(
    found: NDArray[np.float32],
    found_classes: NDArray[np.int64],
    labels: NDArray[np.float32],
    label_classes: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """The sheet's sentence, step by step: pairs, sort by IoU, one per detection, one per label."""
    hits = np.zeros((len(found), 10), dtype=bool)
    iou = pairwise_iou(torch.from_numpy(labels), torch.from_numpy(found)).numpy()
    for column, threshold in enumerate(IOU_THRESHOLDS):
        pairs = [
            (iou[label, number], label, number)
            for label in range(len(labels))
            for number in range(len(found))
            if iou[label, number] >= threshold and label_classes[label] == found_classes[number]
        ]
        pairs.sort(key=lambda pair: -pair[0])
        per_detection: dict[int, int] = {}
        for _, label, number in pairs:
            per_detection.setdefault(number, label)
        taken: set[int] = set()
        for number in sorted(per_detection):
            if per_detection[number] not in taken:
                taken.add(per_detection[number])
                hits[number, column] = True
    return hits


def test_a_hit_counts_up_to_its_overlap() -> None:
    # 7.2 of 10 columns: IoU .72, so a hit at .50 ... .70 (five thresholds).
    hits = match_detections(boxes([0, 0, 7.2, 10]), classes(0), boxes(LABEL), classes(0))
    assert hits.tolist() == [[True] * 5 + [False] * 5]


def test_an_overlap_equal_to_the_threshold_is_a_hit() -> None:
    hits = match_detections(boxes([0, 0, 5, 10]), classes(0), boxes(LABEL), classes(0))
    assert hits[0].tolist() == [True] + [False] * 9


def test_another_class_is_no_hit() -> None:
    assert not match_detections(boxes(LABEL), classes(1), boxes(LABEL), classes(0)).any()


def test_the_most_confident_claim_wins_even_with_less_overlap() -> None:
    found = boxes([0, 0, 8, 10], LABEL)
    hits = match_detections(found, classes(0, 0), boxes(LABEL), classes(0))
    assert hits[0].tolist() == [True] * 7 + [False] * 3  # IoU .8 holds up to .80
    assert hits[1].tolist() == [False] * 7 + [True] * 3  # the better box, where the first fails


def test_a_detection_whose_best_label_is_taken_does_not_get_the_next() -> None:
    labels = boxes([0, 0, 10, 10], [0, 0, 10, 8])  # IoU .8 with each other
    found = boxes([0, 0, 10, 10], [0, 0, 10, 9.5])  # both are nearest to the first label
    hits = match_detections(found, classes(0, 0), labels, classes(0, 0))
    assert hits[0].all()
    assert not hits[1].any()


@pytest.mark.parametrize("empty", ["detections", "labels"])
def test_nothing_to_match(empty: str) -> None:
    none, one = (boxes(), classes()), (boxes(LABEL), classes(0))
    found, labels = (none, one) if empty == "detections" else (one, none)
    hits = match_detections(*found, *labels)
    assert hits.shape == (len(found[0]), 10)
    assert not hits.any()


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_the_rule_carried_out_literally(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.uniform(0, 60, (12, 4)).astype(np.float32)
    labels[:, 2:] = labels[:, :2] + random.uniform(10, 40, (12, 2))
    found = np.repeat(labels, 6, axis=0) + random.normal(0, 2, (72, 4)).astype(np.float32)
    found = random.permutation(found)
    found_classes, label_classes = random.integers(0, 2, 72), random.integers(0, 2, 12)
    hits = match_detections(found, found_classes, labels, label_classes)
    np.testing.assert_array_equal(hits, literal(found, found_classes, labels, label_classes))
    assert hits[:, :8].any(axis=0).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_label_is_hit_at_most_once(seed: int) -> None:
    random = np.random.default_rng(seed)
    found = (np.array(LABEL) + random.normal(0, 1, (30, 4))).astype(np.float32)
    hits = match_detections(found, np.zeros(30, dtype=np.int64), boxes(LABEL), classes(0))
    assert (hits.sum(axis=0) <= 1).all()
