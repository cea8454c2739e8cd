"""The confusion matrix by hand, what always holds of it, and the reference's way in a few lines."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from prunus.core.boxes import pairwise_iou
from prunus.core.records import Detections
from prunus.evaluate.confusion import confusion_matrix, count_background
from prunus.evaluate.truth import Labels

A, B = (0, 0, 10, 10), (20, 20, 30, 30)
SHIFTED_A = (1, 0, 11, 10)  # IoU 9 / 11 with A
HALF_A = (0, 0, 10, 5)  # IoU .5


def found(*rows: tuple[tuple[float, ...], int, float]) -> Detections:
    return Detections(
        np.array([box for box, _, _ in rows], dtype=np.float32).reshape(-1, 4),
        np.array([score for _, _, score in rows], dtype=np.float32),
        np.array([class_ for _, class_, _ in rows], dtype=np.int64),
    )


def labelled(*rows: tuple[tuple[float, ...], int]) -> Labels:
    return Labels(
        np.array([box for box, _ in rows], dtype=np.float32).reshape(-1, 4),
        np.array([class_ for _, class_ in rows], dtype=np.int64),
    )


def test_value_by_hand() -> None:
    detections = found((A, 1, 0.9), (B, 1, 0.2), ((50, 50, 60, 60), 0, 0.8))
    matrix = confusion_matrix([detections], [labelled((A, 0), (B, 1))], 2)
    assert matrix.tolist() == [
        [0, 0, 1],  # class 0 found where nothing is
        [1, 0, 0],  # class 1 found where class 0 is labelled
        [0, 1, 0],  # class 1 labelled; found too, but at .2
    ]


def test_the_better_overlap_has_the_label_not_the_more_confident() -> None:
    detections = found((HALF_A, 0, 0.9), (SHIFTED_A, 1, 0.3))
    matrix = confusion_matrix([detections], [labelled((A, 0))], 2)
    assert matrix[1, 0] == 1, "found as 1, labelled as 0"
    assert matrix[0, 2] == 1, "the other one has nothing"


def test_a_detection_whose_best_label_is_taken_has_no_second_try() -> None:
    both = labelled((A, 0), (SHIFTED_A, 0))
    matrix = confusion_matrix([found((A, 0, 0.9), ((0, 0, 10, 9.9), 0, 0.8))], [both], 1)
    assert matrix.tolist() == [[1, 1], [1, 0]]


@pytest.mark.parametrize("seed", range(5))
def test_columns_add_up_to_labels_and_rows_to_detections(seed: int) -> None:
    detections, labels = scene(seed)
    matrix = confusion_matrix([detections], [labels], 3)
    likely = detections.classes[detections.scores > 0.25]
    assert matrix[:, :3].sum(axis=0).tolist() == np.bincount(labels.classes, minlength=3).tolist()
    assert matrix[:3].sum(axis=1).tolist() == np.bincount(likely, minlength=3).tolist()


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_a_plain_loop(seed: int) -> None:
    detections, labels = scene(seed)
    np.testing.assert_array_equal(
        confusion_matrix([detections], [labels], 3), in_a_plain_loop(detections, labels)
    )


def scene(seed: int) -> tuple[Detections, Labels]:
    rng = np.random.default_rng(seed)
    corners = rng.random((40, 2)) * 30
    boxes = np.hstack((corners, corners + 10 + rng.random((40, 2)) * 5)).astype(np.float32)
    scores = np.sort(rng.random(25).astype(np.float32))[::-1].copy()
    detections = Detections(boxes[:25], scores, rng.integers(0, 3, 25))
    return detections, Labels(boxes[25:], rng.integers(0, 3, 15))


def in_a_plain_loop(detections: Detections, labels: Labels) -> NDArray[np.int64]:
    iou = pairwise_iou(
        torch.from_numpy(detections.boxes_xyxy), torch.from_numpy(labels.boxes_xyxy)
    ).numpy()
    matrix = np.zeros((4, 4), dtype=np.int64)
    best: dict[int, tuple[float, int]] = {}
    for number, row in enumerate(iou):
        label = int(row.argmax())
        if detections.scores[number] > 0.25 and row[label] > max(0.45, best.get(label, (0,))[0]):
            best[label] = (float(row[label]), number)
    owners = {number: label for label, (_, number) in best.items()}
    for number, class_ in enumerate(detections.classes):
        if detections.scores[number] > 0.25:
            matrix[class_, labels.classes[owners[number]] if number in owners else 3] += 1
    for label, class_ in enumerate(labels.classes):
        matrix[3, class_] += label not in best
    return matrix


def test_no_detections_and_no_labels() -> None:
    assert confusion_matrix([found()], [labelled()], 1).tolist() == [[0, 0], [0, 0]]
    assert confusion_matrix([found()], [labelled((A, 0))], 1).tolist() == [[0, 0], [1, 0]]


def test_false_positives_are_counted_in_images_without_labels_only() -> None:
    detections = [found((A, 0, 0.9), (B, 0, 0.3)), found((A, 0, 0.2)), found((B, 0, 0.9))]
    background = count_background(detections, [labelled(), labelled(), labelled((A, 0))])
    assert background.as_dict() == {
        "confidence": 0.25,
        "images": 2,
        "images_with_false_positives": 1,
        "false_positives_per_image": 1.0,
    }
    none = count_background(detections[2:], [labelled((A, 0))]).as_dict()
    assert none["false_positives_per_image"] is None
