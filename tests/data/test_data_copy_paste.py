"""Objects pasted along their outlines, and outlines that follow their picture."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from prunus.data.augment import NO_AUGMENTATION, Augmentation
from prunus.data.augment.affine import box_around, keep_visible, vary, warp
from prunus.data.augment.copy_paste import copy_paste, covered
from prunus.data.augment.draw import draw
from prunus.data.augment.mosaic import mosaic
from prunus.data.augment.sample import Rings, Sample, move_outlines
from prunus.data.index import build_index
from prunus.data.spec import read_data
from prunus.data.tiles import Tiles

SIZE = 64


def outlined(
    *corners: tuple[int, int, int, int], outlines: bool = True, side: int = SIZE
) -> Sample:
    """A black picture with white rectangles, their boxes, and their outlines as rectangles."""
    image = np.zeros((side, side, 3), np.uint8)
    rings: list[Rings] = []
    for left, top, right, bottom in corners:
        image[top:bottom, left:right] = 255
        ring = [[left, top], [right, top], [right, bottom], [left, bottom]]
        rings.append((np.array(ring, dtype=np.float32),))
    boxes = np.array([[n, *box] for n, box in enumerate(corners)], dtype=np.float32)
    return Sample(image, boxes, tuple(rings) if outlines else None)


def test_an_object_is_pasted_mirrored_with_its_box() -> None:
    sample = outlined((4, 10, 20, 30))
    pasted = copy_paste(sample, 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(pasted.boxes, [[0, 4, 10, 20, 30], [0, 44, 10, 60, 30]])
    white = np.zeros((SIZE, SIZE), bool)
    white[10:30, 4:20] = white[10:30, 44:60] = True
    np.testing.assert_array_equal(pasted.image[..., 0] > 0, white)
    assert pasted.outlines is not None
    np.testing.assert_array_equal(pasted.outlines[1][0], [[60, 10], [44, 10], [44, 30], [60, 30]])
    assert sample.image.sum() == 255 * 3 * 16 * 20, "the input stays"
    assert len(sample.boxes) == 1


def test_what_would_cover_another_object_is_not_pasted() -> None:
    boxes = np.array([[0, 0, 10, 10], [8, 0, 18, 10], [30, 0, 40, 10]], np.float32)
    np.testing.assert_allclose(covered(boxes, np.array([0, 0, 10, 5], np.float32)), [0.5, 0.1, 0])
    beside = outlined((4, 10, 20, 30), (40, 12, 60, 28))
    assert len(copy_paste(beside, 1.0, np.random.default_rng(0)).boxes) == 2
    middle = outlined((24, 10, 40, 30))
    assert len(copy_paste(middle, 1.0, np.random.default_rng(0)).boxes) == 1


@pytest.mark.parametrize(("share", "count"), [(0.0, 4), (0.25, 5), (0.5, 6), (1.0, 8)])
def test_a_share_of_the_objects_is_pasted(share: float, count: int) -> None:
    columns = [(2, top, 12, top + 8) for top in (2, 18, 34, 50)]
    sample = outlined(*columns)
    pasted = copy_paste(sample, share, np.random.default_rng(1))
    assert len(pasted.boxes) == count
    assert pasted.outlines is not None
    assert len(pasted.outlines) == count


def test_boxes_without_an_outline_stay() -> None:
    bare = outlined((4, 10, 20, 30), outlines=False)
    assert copy_paste(bare, 1.0, np.random.default_rng(0)) is bare
    mixed = outlined((4, 10, 20, 18), (4, 40, 20, 50))
    assert mixed.outlines is not None
    mixed = mixed._replace(outlines=((), mixed.outlines[1]))
    pasted = copy_paste(mixed, 1.0, np.random.default_rng(0))
    assert pasted.boxes[:, 0].tolist() == [0, 1, 1]


def test_outlines_follow_a_mosaic() -> None:
    tiles = [outlined((4, 10, 20, 30)), outlined((8, 8, 24, 40), outlines=False)] * 2
    joined = mosaic(tiles, SIZE, np.random.default_rng(3))
    assert joined.outlines is not None
    assert [len(rings) for rings in joined.outlines] == [1, 0, 1, 0]
    for box, rings in zip(joined.boxes, joined.outlines, strict=True):
        for ring in rings:
            around = [*ring.min(axis=0), *ring.max(axis=0)]
            np.testing.assert_allclose(np.clip(around, 0, 2 * SIZE), box[1:])
    bare = [outlined((4, 10, 20, 30), outlines=False)] * 4
    assert mosaic(bare, SIZE, np.random.default_rng(3)).outlines is None


def test_a_turned_diamond_has_a_tighter_box_than_its_turned_box() -> None:
    ring = np.array([[32, 12], [52, 32], [32, 52], [12, 32]], np.float32)
    box = np.array([[0, 12, 12, 52, 52]], np.float32)
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    eighth = np.array(
        [[np.sqrt(0.5), -np.sqrt(0.5), 32], [np.sqrt(0.5), np.sqrt(0.5), 32 - 64 * np.sqrt(0.5)],
         [0, 0, 1]]
    )  # fmt: skip
    tight = warp(Sample(image, box, ((ring,),)), eighth, 1.0, (SIZE, SIZE))
    half = 20 * np.sqrt(0.5)
    np.testing.assert_allclose(
        tight.boxes[0, 1:], [32 - half, 32 - half, 32 + half, 32 + half], atol=0.3
    )
    loose = warp(Sample(image, box), eighth, 1.0, (SIZE, SIZE))
    assert (loose.boxes[0, 3:] - loose.boxes[0, 1:3]).min() > 1.3 * 2 * half
    assert tight.outlines is None


def test_the_box_is_around_what_is_visible() -> None:
    ring = np.array([[-20, 10], [20, 10], [20, 30], [-20, 30]], np.float32)
    box = box_around((ring,), np.eye(3), (SIZE, SIZE))
    np.testing.assert_allclose(box, [0, 10, 20, 30], atol=0.5)
    np.testing.assert_array_equal(box_around((ring - 100,), np.eye(3), (SIZE, SIZE)), np.zeros(4))


@pytest.mark.parametrize("seed", range(5))
def test_outlined_rectangles_are_varied_like_boxes(seed: int) -> None:
    settings = Augmentation(scale=0.3, translate=0.2)
    both = [
        vary(outlined((20, 20, 44, 40), outlines=known), (SIZE, SIZE), settings,
             np.random.default_rng(seed))
        for known in (True, False)
    ]  # fmt: skip
    np.testing.assert_allclose(both[0].boxes, both[1].boxes, atol=0.6)
    np.testing.assert_array_equal(both[0].image, both[1].image)


def test_scaling_and_shifting_outlines() -> None:
    ring = np.array([[0.5, 0.25], [1, 1], [0, 1]], np.float32)
    moved = move_outlines(((ring,), ()), (100, 40), (3, 5))
    assert moved is not None
    np.testing.assert_allclose(moved[0][0], [[53, 15], [103, 45], [3, 45]])
    assert moved[1] == ()
    assert move_outlines(None, (1, 1), (0, 0)) is None


def test_polygons_of_label_files_are_pasted_in_training(yolo_set: Callable[..., Path]) -> None:
    labels = {f"{n}": "1 .05 .1 .3 .1 .3 .4 .05 .4\n1 .05 .6 .3 .6 .3 .9 .05 .9" for n in range(4)}
    index = build_index(read_data(yolo_set(labels, size_hw=(64, 64))), "train")
    assert index.polygons is not None
    tiles = Tiles(index, SIZE)
    still = vars(NO_AUGMENTATION)
    counts = []
    for share in (0.0, 1.0):
        settings = Augmentation(**{**still, "mosaic": 1.0, "copy_paste": share})
        found = [
            len(draw(tiles, range(4), 0, (SIZE, SIZE), settings, np.random.default_rng(n)).boxes)
            for n in range(20)
        ]
        counts.append(sum(found))
    assert counts[1] > counts[0]
    single = draw(tiles, range(4), 0, (SIZE, SIZE), NO_AUGMENTATION, np.random.default_rng(0))
    assert len(single.boxes) == 2


def test_a_hundredth_of_an_outlined_object_is_enough() -> None:
    before = np.array([[0, 0, 0, 40, 40]] * 4, np.float32)
    after = np.array([[0, 0, 0, 10, 6]] * 2 + [[0, 0, 0, 5, 3]] * 2, np.float32)
    known = np.array([True, False, True, False])
    kept = keep_visible(before, after, 1.0, known)  # shares of .0375 and .0094
    np.testing.assert_array_equal(kept, after[:1])
