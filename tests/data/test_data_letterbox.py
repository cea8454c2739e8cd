import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunus.data.letterbox import GREY, fit_long_side, fitted_size, letterbox

sides = st.integers(10, 1500)


def picture(height: int, width: int, level: int = 200) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


@pytest.mark.parametrize(
    ("size_hw", "fitted"),
    [
        ((480, 640), (480, 640)),
        ((427, 640), (427, 640)),
        ((333, 500), (427, 640)),  # 426.24, rounded up
        ((1000, 667), (640, 427)),  # 426.88
        ((588, 588), (640, 640)),  # 588 * (640 / 588) is 640.0000000000001 in floats
        ((10, 1500), (5, 640)),
    ],
)
def test_the_long_side_fits_and_the_other_is_rounded_up(
    size_hw: tuple[int, int], fitted: tuple[int, int]
) -> None:
    assert fitted_size(size_hw, 640) == fitted
    assert fit_long_side(picture(*size_hw), 640, smooth=True).shape[:2] == fitted


def test_shrinks_by_averages_for_validation_and_bilinearly_for_training() -> None:
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[:, 0::4] = 200
    assert np.unique(fit_long_side(stripes, 10, smooth=True)).tolist() == [50]
    assert np.unique(fit_long_side(stripes, 10, smooth=False)).tolist() == [0]


def test_grows_bilinearly() -> None:
    step = np.repeat(np.array([0, 200], np.uint8), 10)[None, :, None].repeat(20, 0).repeat(3, 2)
    row = fit_long_side(step, 40, smooth=True)[20, 18:22, 0]
    assert row.tolist() == [0, 50, 150, 200]


@pytest.mark.parametrize(
    ("size_hw", "shape_hw", "scale_yx", "pad_yx"),
    [
        ((480, 640), (480, 640), (1, 1), (0, 0)),
        ((480, 640), (512, 672), (1, 1), (16, 16)),
        ((427, 640), (448, 672), (1, 1), (10, 16)),  # 10.5 above and below: 10 and 11
        ((427, 640), (640, 640), (1, 1), (106, 0)),  # 106.5
        ((240, 320), (512, 672), (2, 2), (16, 16)),  # small images grow to the image size
        ((960, 1280), (512, 672), (0.5, 0.5), (16, 16)),
        ((333, 500), (448, 672), (427 / 333, 1.28), (10, 16)),
    ],
)
def test_validation_by_hand(
    size_hw: tuple[int, int],
    shape_hw: tuple[int, int],
    scale_yx: tuple[float, float],
    pad_yx: tuple[float, float],
) -> None:
    canvas, scale, pad = letterbox(picture(*size_hw), 640, shape_hw, scale_up=False)
    assert canvas.shape == (*shape_hw, 3)
    assert scale == pytest.approx(scale_yx)
    assert pad == pad_yx


def test_only_training_fills_a_larger_canvas() -> None:
    image = picture(480, 640)
    assert letterbox(image, 640, (1280, 1280), scale_up=True)[1] == (2, 2)
    assert letterbox(image, 640, (1280, 1280), scale_up=False)[1] == (1, 1)


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.sampled_from([64, 320, 640]), st.integers(0, 3), st.booleans())
def test_the_picture_lies_exactly_where_scale_and_pad_say(
    height: int, width: int, size: int, extra: int, scale_up: bool
) -> None:
    shape = (size + 32 * extra, size + 32 * extra)
    canvas, (scale_y, scale_x), (top, left) = letterbox(
        picture(height, width), size, shape, scale_up=scale_up
    )
    rows, columns = np.nonzero((canvas != GREY).any(axis=2))
    assert (rows.min(), columns.min()) == (top, left)
    assert rows.max() + 1 == pytest.approx(top + scale_y * height)
    assert columns.max() + 1 == pytest.approx(left + scale_x * width)
    assert (canvas[rows, columns] == 200).all()
    borders = (shape[0] - scale_y * height - 2 * top, shape[1] - scale_x * width - 2 * left)
    assert all(-1e-6 < border < 1 + 1e-6 for border in borders), (
        "the odd pixel lies below and right"
    )
