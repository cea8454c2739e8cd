"""Which image comes where: by hand, on average, and the same for the same seed and epoch."""

from pathlib import Path

import numpy as np
import pytest

from prunus.data.image_index import ImageIndex
from prunus.data.sampling import (
    ByNeed,
    InRectangles,
    Repeated,
    Sampling,
    Shuffled,
    image_weights,
    repeat_factors,
    shape_groups,
    shared_canvas,
)


def index_of(*kinds: tuple[int, ...], classes: int = 3) -> ImageIndex:
    """One image for each tuple, with boxes of these classes."""
    flat = [kind for image in kinds for kind in image]
    boxes = np.full((len(flat), 5), 0.5, dtype=np.float32)
    boxes[:, 0] = flat
    return ImageIndex(
        names=tuple("abcdef"[:classes]),
        paths=tuple(Path(f"{number}.png") for number in range(len(kinds))),
        sizes_hw=np.full((len(kinds), 2), 64, dtype=np.int32),
        boxes=boxes,
        offsets=np.cumsum([0, *map(len, kinds)], dtype=np.int64),
    )


SOME = index_of((0, 0, 1), (0,), (), (2, 2))
SIZES = np.array([[30, 60], [60, 30], [40, 40], [30, 50], [50, 30]], dtype=np.int32)
every_sampling = pytest.mark.parametrize(
    "sampling",
    [
        Shuffled(4, seed=1),
        ByNeed(SOME, seed=1),
        Repeated((1.0, 2.5, 1.25, 1.25), seed=1),
        InRectangles(shape_groups(SIZES, 2), stride=32, seed=1),
    ],
    ids=lambda sampling: type(sampling).__name__,
)


@every_sampling
def test_an_order_is_a_function_of_seed_and_epoch(sampling: Sampling) -> None:
    orders = [sampling.order(epoch, ()).tolist() for epoch in range(8)]
    assert [sampling.order(epoch, ()).tolist() for epoch in range(8)] == orders
    assert len({tuple(order) for order in orders}) > 1
    assert {len(order) for order in orders} == {sampling.length}


def test_images_weigh_by_rare_and_badly_found_classes_by_hand() -> None:
    # 3 boxes of class 0, 1 of class 1, 2 of class 2
    np.testing.assert_allclose(image_weights(SOME, ()), [2 / 3 + 1, 1 / 3, 0, 1])
    found = (0.5, 0.0, 1.0)
    np.testing.assert_allclose(image_weights(SOME, found), [2 / 3 / 4 + 1, 1 / 12, 0, 0])
    np.testing.assert_allclose(image_weights(SOME, (1.0, 1.0, 1.0)), np.ones(4))
    np.testing.assert_allclose(image_weights(index_of((), ()), ()), np.ones(2))


def test_images_are_drawn_as_often_as_they_weigh() -> None:
    sampling = ByNeed(SOME, seed=0)
    drawn = np.concatenate([sampling.order(epoch, ()) for epoch in range(2000)])
    shares = np.bincount(drawn, minlength=4) / len(drawn)
    np.testing.assert_allclose(shares, np.array([5 / 3, 1 / 3, 0, 1]) / 3, atol=0.015)


def test_repeat_factors_by_hand() -> None:
    # class 0 is on half of the images, classes 1 and 2 on a quarter each
    np.testing.assert_allclose(repeat_factors(SOME, 0.36), [1.2, 1, 1, 1.2])
    np.testing.assert_allclose(repeat_factors(SOME, 0.2), [1, 1, 1, 1])
    np.testing.assert_allclose(repeat_factors(SOME, 0.98), [1.4 * 2**0.5, 1.4, 1, 1.4 * 2**0.5])


def test_images_are_repeated_by_their_factors_on_average() -> None:
    factors = (1.0, 2.5, 1.25, 1.25, 1.0, 3.75)
    sampling = Repeated(factors, seed=0)
    assert sampling.length == 10
    counts = np.zeros(6)
    for epoch in range(2000):
        order = np.bincount(sampling.order(epoch, ()), minlength=6)
        counts += order
        assert (order <= np.ceil(factors)).all()
    np.testing.assert_allclose(counts / 2000 / 10 * sum(factors), factors, atol=0.08)


def test_rectangles_keep_their_groups_and_the_small_one_comes_last() -> None:
    groups = shape_groups(SIZES, 2)
    assert groups == ((0, 3), (2, 4), (1,))
    sampling = InRectangles(groups, stride=32, seed=0)
    seen = set()
    for epoch in range(10):
        order = sampling.order(epoch, ()).tolist()
        pairs = [tuple(order[start : start + 2]) for start in range(0, 5, 2)]
        assert sorted(pairs) == sorted(groups)
        assert pairs[-1] == (1,)
        seen.add(tuple(pairs))
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("sizes", "canvas"),
    [
        ([[30, 60]], (32, 64)),
        ([[30, 60], [33, 60]], (64, 64)),
        ([[32, 64], [64, 32]], (64, 64)),
        ([[480, 640]], (64, 64)),
        ([[320, 640]], (32, 64)),
    ],
)
def test_the_canvas_that_images_share(sizes: list[list[int]], canvas: tuple[int, int]) -> None:
    assert shared_canvas(np.array(sizes, dtype=np.int32), 64, 32) == canvas
