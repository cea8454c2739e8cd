"""Suppression: by hand, against a plain loop, and both engines against each other."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunus.evaluate import nms
from prunus.evaluate.nms import non_maximum_suppression
from prunus.evaluate.suppress import BLOCK, suppress_by_operator, suppress_in_blocks

VAL = {"confidence": 0.001, "iou": 0.6, "max_detections": 300, "multi_label": True}


def candidate(box_xywh: tuple[float, ...], objectness: float, *classes: float) -> list[float]:
    return [*box_xywh, objectness, *classes]


def crowd(count: int, class_count: int, seed: int, places: int = 12) -> Tensor:
    """(1, count, 5 + K) candidates that overlap in heaps, as a detector's do."""
    random = torch.Generator().manual_seed(seed)
    centre = torch.rand(places, 2, generator=random) * 600
    size = torch.rand(places, 2, generator=random) * 150 + 10
    place = torch.randint(places, (count,), generator=random)
    xy = centre[place] + torch.randn(count, 2, generator=random) * 8
    wh = size[place] * torch.exp(torch.randn(count, 2, generator=random) * 0.2)
    odds = torch.rand(count, 1 + class_count, generator=random) ** 3
    return torch.cat((xy, wh, odds), dim=1)[None]


def sorted_boxes(
    count: int, groups: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    xywh = crowd(count, 1, seed)[0, :, :4]
    boxes = torch.cat((xywh[:, :2] - xywh[:, 2:] / 2, xywh[:, :2] + xywh[:, 2:] / 2), dim=1)
    return boxes.numpy(), np.random.default_rng(seed).integers(0, groups, count)


def overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> np.float32:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return np.float32(0)
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def naive_suppress(
    boxes: NDArray[np.float32], groups: NDArray[np.int64], iou: float, limit: int
) -> list[int]:
    keep: list[int] = []
    for number in range(len(boxes)):
        rivals = [kept for kept in keep if groups[kept] == groups[number]]
        if all(overlap(boxes[kept], boxes[number]) <= np.float32(iou) for kept in rivals):
            keep.append(number)
    return keep[:limit]


def naive_nms(image: Tensor, *, confidence: float, iou: float, limit: int) -> NDArray[np.float32]:
    """Multi-label suppression of one image, written as the sheet says it, one box at a time."""
    found = []
    for cx, cy, w, h, objectness, *classes in image.numpy():
        for class_, probability in enumerate(classes):
            score = objectness * probability
            if objectness > confidence and score > confidence:
                corners = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
                found.append((*corners, score, class_))
    found.sort(key=lambda row: -row[4])
    rows = np.array(found, dtype=np.float32).reshape(-1, 6)
    return rows[naive_suppress(rows[:, :4], rows[:, 5].astype(np.int64), iou, limit)]


def test_the_better_of_two_overlapping_boxes_stays() -> None:
    box, shifted, far = (50, 50, 20, 20), (52, 50, 20, 20), (150, 50, 20, 20)
    candidates = torch.tensor(
        [
            [
                candidate(shifted, 0.5, 1.0, 0.0),
                candidate(box, 0.8, 0.5, 0.1),
                candidate(box, 0.6, 1.0, 0.0),
                candidate(far, 0.3, 0.0, 1.0),
            ]
        ]
    )

    (found,) = non_maximum_suppression(candidates, **VAL)

    expected = [
        [40, 40, 60, 60, 0.6, 0],  # beats 0.5 (IoU 18 x 20 / 440 = .82) and its own twin of 0.4
        [140, 40, 160, 60, 0.3, 1],
        [40, 40, 60, 60, 0.08, 1],  # the second class of the second candidate
    ]
    torch.testing.assert_close(found, torch.tensor(expected))


@pytest.mark.parametrize(
    ("objectness", "probability", "kept"),
    [(0.25, 1.0, 0), (0.2500001, 1.0, 1), (0.5, 0.5, 0), (0.9, 0.3, 1), (0.2, 1.0, 0)],
)
def test_objectness_and_score_must_both_be_greater_than_the_threshold(
    objectness: float, probability: float, kept: int
) -> None:
    candidates = torch.tensor([[candidate((5, 5, 2, 2), objectness, probability)]])
    (found,) = non_maximum_suppression(
        candidates, confidence=0.25, iou=0.45, max_detections=9, multi_label=False
    )
    assert len(found) == kept


def test_an_overlap_equal_to_the_threshold_does_not_remove() -> None:
    # A box of 10 x 10 and its left half: IoU 50 / 100.
    candidates = torch.tensor(
        [[candidate((5, 5, 10, 10), 0.9, 1.0), candidate((2.5, 5, 5, 10), 0.8, 1.0)]]
    )
    counts = [
        len(non_maximum_suppression(candidates, **{**VAL, "iou": iou})[0]) for iou in (0.5, 0.49)
    ]
    assert counts == [2, 1]


def test_without_multi_label_only_the_best_class_counts() -> None:
    candidates = torch.tensor([[candidate((5, 5, 2, 2), 0.9, 0.5, 0.8, 0.8)]])
    (found,) = non_maximum_suppression(candidates, **{**VAL, "multi_label": False})
    assert found[:, 5].tolist() == [1]


def test_agnostic_suppression_ignores_classes() -> None:
    candidates = torch.tensor([[candidate((5, 5, 2, 2), 0.9, 0.5, 0.8)]])
    (apart,) = non_maximum_suppression(candidates, **VAL)
    (together,) = non_maximum_suppression(candidates, **VAL, agnostic=True)
    assert apart[:, 5].tolist() == [1, 0]
    assert together[:, 5].tolist() == [1]


def test_equal_scores_keep_the_order_of_the_candidates() -> None:
    boxes = [(number * 10.0, 5, 4, 4) for number in range(20)]
    candidates = torch.tensor([[candidate(box, 0.5, 0.5) for box in boxes]])
    (found,) = non_maximum_suppression(candidates, **VAL)
    assert found[:, 0].tolist() == [number * 10 - 2 for number in range(20)]


def test_a_batch_is_as_many_images_and_empty_ones_stay_empty() -> None:
    full = crowd(200, 3, seed=1)
    batch = torch.cat((full, torch.zeros_like(full), full.flip(1)))
    first, nothing, _ = non_maximum_suppression(batch, **VAL)
    (alone,) = non_maximum_suppression(full, **VAL)
    torch.testing.assert_close(first, alone)
    assert nothing.shape == (0, 6)
    assert nothing.dtype == torch.float32


@pytest.mark.parametrize("class_count", [1, 3, 20])
@pytest.mark.parametrize("seed", range(2))
def test_agrees_with_a_plain_loop(class_count: int, seed: int) -> None:
    candidates = crowd(150, class_count, seed)
    (found,) = non_maximum_suppression(
        candidates, confidence=0.05, iou=0.5, max_detections=60, multi_label=True
    )
    expected = naive_nms(candidates[0], confidence=0.05, iou=0.5, limit=60)
    torch.testing.assert_close(found, torch.from_numpy(expected))


def test_trying_few_candidates_first_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = crowd(3000, 4, seed=5)
    (all_at_once,) = non_maximum_suppression(candidates, **VAL)
    monkeypatch.setattr(nms, "FIRST_TRIAL", 7)
    (in_steps,) = non_maximum_suppression(candidates, **VAL)
    torch.testing.assert_close(in_steps, all_at_once, rtol=0, atol=0)


def test_only_the_most_confident_candidates_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = [(number * 10.0, 5, 4, 4) for number in range(6)]
    scores = [0.3, 0.9, 0.1, 0.8, 0.7, 0.2]
    candidates = torch.tensor(
        [[candidate(box, score, 1.0) for box, score in zip(boxes, scores, strict=True)]]
    )
    monkeypatch.setattr(nms, "MAX_CANDIDATES", 3)
    (found,) = non_maximum_suppression(candidates, **VAL)
    torch.testing.assert_close(found[:, 4], torch.tensor([0.9, 0.8, 0.7]))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("groups", [1, 5, 80])
def test_both_engines_agree_with_a_plain_loop(groups: int, seed: int) -> None:
    boxes, group = sorted_boxes(400, groups, seed)
    for limit in (400, 25):
        expected = naive_suppress(boxes, group, 0.6, limit)
        tensors = torch.from_numpy(boxes), torch.from_numpy(group)
        assert suppress_by_operator(boxes, group, 0.6, limit).tolist() == expected
        assert suppress_in_blocks(*tensors, 0.6, limit).tolist() == expected


@pytest.mark.parametrize("groups", [1, 80])
def test_both_engines_agree_on_long_lists(groups: int) -> None:
    boxes, group = sorted_boxes(2 * BLOCK + 100, groups, seed=9)
    keep = suppress_by_operator(boxes, group, 0.45, len(boxes))
    tensors = torch.from_numpy(boxes), torch.from_numpy(group)
    assert suppress_in_blocks(*tensors, 0.45, len(boxes)).tolist() == keep.tolist()
    assert 0 < len(keep) < len(boxes)


@pytest.mark.parametrize("seed", range(3))
def test_no_kept_pair_of_a_class_overlaps_and_every_removed_box_has_a_reason(seed: int) -> None:
    boxes, group = sorted_boxes(300, 3, seed)
    keep = set(suppress_by_operator(boxes, group, 0.5, 300).tolist())
    for number in range(len(boxes)):
        better = [kept for kept in keep if kept < number and group[kept] == group[number]]
        beaten = any(overlap(boxes[kept], boxes[number]) > 0.5 for kept in better)
        assert beaten == (number not in keep)


def test_a_class_far_from_the_first_is_suppressed_as_exactly() -> None:
    # Moved by class x 7680 px, these 3-px boxes would be rounded to 1/16 px and judged differently.
    a, b = [100.0, 100.0, 103.0, 103.0], [100.74, 100.0, 103.74, 103.0]  # IoU .6043
    boxes = np.array([a, b], dtype=np.float32)
    for group in (0, 79):
        groups = np.full(2, group)
        assert suppress_by_operator(boxes, groups, 0.604, 2).tolist() == [0]
        assert suppress_by_operator(boxes, groups, 0.605, 2).tolist() == [0, 1]


@pytest.mark.gpu
def test_a_gpu_finds_what_the_cpu_finds() -> None:
    candidates = crowd(3000, 20, seed=3)
    (expected,) = non_maximum_suppression(candidates, **VAL)
    (found,) = non_maximum_suppression(candidates.cuda(), **VAL)
    torch.testing.assert_close(found.cpu(), expected)
