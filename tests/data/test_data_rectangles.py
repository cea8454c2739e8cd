import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prunus.data.letterbox import fitted_size
from prunus.data.rectangles import multiple_of, rectangles, shape_groups, squares


@pytest.mark.parametrize(
    ("sizes", "shape"),
    [
        ([(480, 640)], (512, 672)),  # .75: ceil(15 + .5), and ceil(20 + .5) strides
        ([(320, 640), (480, 640)], (512, 672)),  # the tallest of the wide ones
        ([(640, 480), (640, 320)], (672, 512)),  # 1 / the widest of the tall ones
        ([(480, 640), (640, 480)], (672, 672)),  # both kinds
        ([(640, 640), (640, 320)], (672, 672)),
        ([(432, 640)], (448, 672)),  # 13.5 + .5 strides exactly
        ([(433, 640)], (480, 672)),
    ],
)
def test_canvases_by_hand(sizes: list[tuple[int, int]], shape: tuple[int, int]) -> None:
    (batch,) = rectangles(np.array(sizes, np.int32), 640, 32, 32)
    assert batch.shape_hw == shape


def test_sorts_by_height_over_width_and_keeps_the_order_of_equals() -> None:
    sizes = np.array([(640, 480), (480, 640), (960, 1280), (320, 640), (48, 64)], np.int32)
    batches = rectangles(sizes, 640, 2, 32)
    assert [batch.images for batch in batches] == [(3, 1), (2, 4), (0,)]


def test_many_equals_keep_their_order_too() -> None:
    sizes = np.array([(48, 64), (64, 48)] * 50, np.int32)
    (batch,) = rectangles(sizes, 64, 100, 32)
    assert batch.images == (*range(0, 100, 2), *range(1, 100, 2))


@given(
    arrays(np.int32, st.tuples(st.integers(1, 40), st.just(2)), elements=st.integers(10, 4000)),
    st.sampled_from([320, 640]),
    st.integers(1, 16),
    st.sampled_from([32, 64]),
)
def test_every_image_comes_once_and_fits(
    sizes: np.ndarray, size: int, batch_size: int, stride: int
) -> None:
    batches = rectangles(sizes, size, batch_size, stride)
    order = [image for batch in batches for image in batch.images]
    assert sorted(order) == list(range(len(sizes)))
    assert all(len(batch.images) == batch_size for batch in batches[:-1])
    for batch in batches:
        assert all(side % stride == 0 for side in batch.shape_hw)
        for image in batch.images:
            tall, wide = fitted_size((int(sizes[image, 0]), int(sizes[image, 1])), size)
            assert tall <= batch.shape_hw[0]
            assert wide <= batch.shape_hw[1]


def test_squares_keep_the_order_and_round_up_to_the_stride() -> None:
    assert [batch.images for batch in squares(5, 640, 2, 32)] == [(0, 1), (2, 3), (4,)]
    assert squares(1, 640, 2, 64)[0].shape_hw == (640, 640)
    assert squares(1, 100, 2, 32)[0].shape_hw == (128, 128)
    assert multiple_of(128, 32) == 128


def test_images_of_like_shape_come_together_and_equal_ones_keep_their_order() -> None:
    sizes = np.array([[10, 10], [30, 10], [20, 20], [10, 20]], np.int32)
    assert shape_groups(sizes, 3) == ((3, 0, 2), (1,))
    assert [batch.images for batch in rectangles(sizes, 64, 3, 32)] == [(3, 0, 2), (1,)]
