"""Best possible recall by hand, and a search that finds anchors where the defaults miss."""

from pathlib import Path

import numpy as np
import pytest
import torch

from prunus.data.index import ImageIndex
from prunus.model.detector import Detector
from prunus.train.anchors import best_possible_recall, box_sizes, fit_anchors_, search_anchors


def index_of(sizes_px: np.ndarray, size_hw: tuple[int, int] = (320, 640)) -> ImageIndex:
    """One image with boxes of these widths and heights."""
    height, width = size_hw
    shares = sizes_px / np.array([width, height])
    boxes = np.hstack((np.zeros((len(shares), 1)), np.full((len(shares), 2), 0.5), shares))
    return ImageIndex(
        names=("thing",),
        paths=(Path("image.png"),),
        sizes_hw=np.array([size_hw], dtype=np.int32),
        boxes=boxes.astype(np.float32),
        offsets=np.array([0, len(boxes)], dtype=np.int64),
    )


def test_best_possible_recall_by_hand() -> None:
    anchors = np.array([[10.0, 10.0], [100.0, 100.0]])
    sizes = np.array([[39.0, 10.0], [41.0, 10.0], [26.0, 399.0], [10.0, 2.6], [1000.0, 100.0]])
    assert best_possible_recall(anchors, sizes, 4.0) == pytest.approx(3 / 5)


def test_boxes_are_taken_at_the_size_they_are_trained_on() -> None:
    index = index_of(np.array([[64.0, 32.0], [1.0, 1.0]]))
    np.testing.assert_allclose(box_sizes(index, 320), [[32.0, 16.0]], rtol=1e-5)


def test_good_anchors_are_kept(nano: Detector) -> None:
    before = nano.anchors.clone()
    sizes = np.random.default_rng(0).uniform(20, 200, (50, 2))
    assert fit_anchors_(nano, index_of(sizes), 640, 4.0) == 1.0
    assert torch.equal(nano.anchors, before)


def test_slivers_get_anchors_of_their_own(nano: Detector) -> None:
    generator = np.random.default_rng(0)
    sizes = np.stack((generator.uniform(150, 600, 80), generator.uniform(4, 9, 80)), axis=1)
    before = nano.anchors.clone()
    recall = fit_anchors_(nano, index_of(sizes), 640, 4.0)
    assert recall > 0.98
    assert not torch.equal(nano.anchors, before)
    strides = torch.tensor(nano.strides).view(-1, 1, 1)
    pixels = (nano.anchors * strides).reshape(-1, 2)
    areas = pixels.prod(1)
    assert torch.equal(areas, areas.sort().values), "fine levels take small boxes"
    assert best_possible_recall(pixels.double().numpy(), sizes, 4.0) > 0.98


def test_the_search_gives_the_same_anchors_for_the_same_seed() -> None:
    sizes = np.random.default_rng(1).uniform(5, 300, (60, 2))
    one, two = (search_anchors(sizes, 9, 4.0, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_no_boxes_and_fewer_boxes_than_anchors_change_nothing(nano: Detector) -> None:
    before = nano.anchors.clone()
    assert fit_anchors_(nano, index_of(np.zeros((0, 2))), 640, 4.0) == 0.0
    fit_anchors_(nano, index_of(np.array([[600.0, 3.0]])), 640, 4.0)
    assert torch.equal(nano.anchors, before)
