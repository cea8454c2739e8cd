"""Every operation by hand, and boxes against the pixels that they surround."""

import colorsys
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunus.data.augment import NO_AUGMENTATION, Augmentation
from prunus.data.augment.affine import keep_visible, move_boxes, random_matrix, vary, warp
from prunus.data.augment.draw import draw
from prunus.data.augment.flip import flip_left_right, flip_up_down
from prunus.data.augment.hsv import scale_colours, vary_colours
from prunus.data.augment.mixup import mixup
from prunus.data.augment.mosaic import mosaic
from prunus.data.augment.sample import Sample, to_pixels, to_shares
from prunus.data.letterbox import GREY

SIZE = 64


def marked(height: int, width: int, box: tuple[int, int, int, int], kind: int = 0) -> Sample:
    """A black picture with one white rectangle, and its box."""
    image = np.zeros((height, width, 3), np.uint8)
    left, top, right, bottom = box
    image[top:bottom, left:right] = 255
    return Sample(image, np.array([[kind, *box]], np.float32))


def white_box(image: np.ndarray) -> list[float]:
    """Left, top, right, bottom of what is brighter than half of white, to a fraction of a pixel."""
    white = np.where(image[..., 0] > GREY + 1, image[..., 0], 0).astype(float) / 255
    across, down = white.max(axis=0), white.max(axis=1)
    edges = []
    for line in (across, down):
        inside = np.nonzero(line > 0.5)[0]
        edges.append((float(inside[0]), float(inside[-1] + 1)))
    return [edges[0][0], edges[1][0], edges[0][1], edges[1][1]]


def still(**changes: float) -> Augmentation:
    return Augmentation(**{**vars(NO_AUGMENTATION), **changes})


def test_shares_and_pixels_by_hand() -> None:
    shares = np.array([[2, 0.5, 0.25, 0.2, 0.1]], np.float32)
    pixels = to_pixels(shares, (100, 200), (10, 20))
    np.testing.assert_allclose(pixels, [[2, 50, 60, 70, 80]])
    np.testing.assert_allclose(to_shares(pixels, 200, 100), [[2, 0.3, 0.7, 0.1, 0.2]])


def test_mirrors_picture_and_boxes_together() -> None:
    sample = marked(40, 60, (5, 10, 25, 18))
    for flip, box in ((flip_left_right, [35, 10, 55, 18]), (flip_up_down, [5, 22, 25, 30])):
        flipped = flip(sample)
        assert flipped.boxes[0, 1:].tolist() == box == white_box(flipped.image)
        np.testing.assert_array_equal(flip(flipped).image, sample.image)
        assert sample.boxes[0, 1:].tolist() == [5, 10, 25, 18], "the input stays"


def test_mosaic_lays_four_tiles_around_the_centre() -> None:
    tiles = [
        Sample(np.full((SIZE, SIZE, 3), level, np.uint8), np.array([[n, 0, 0, 64, 64]], np.float32))
        for n, level in enumerate((10, 20, 30, 40))
    ]
    seed = 3
    across, down = (np.random.default_rng(seed).uniform(0.5, 1.5, 2) * SIZE).astype(int)
    joined = mosaic(tiles, SIZE, np.random.default_rng(seed))
    image = joined.image[..., 0]
    assert joined.image.shape == (2 * SIZE, 2 * SIZE, 3)
    around = image[down - 1 : down + 1, across - 1 : across + 1]
    assert around.tolist() == [[10, 20], [30, 40]]
    for box, level in zip(joined.boxes, (10, 20, 30, 40), strict=True):
        left, top, right, bottom = box[1:].astype(int)
        assert (image[top:bottom, left:right] == level).all()
        assert (image == level).sum() == (right - left) * (bottom - top)
    assert set(np.unique(image)) == {10, 20, 30, 40, GREY}


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(10, SIZE), st.integers(10, SIZE))
def test_mosaic_keeps_boxes_on_their_pixels(seed: int, height: int, width: int) -> None:
    tiles = [marked(height, width, (2, 3, 8, 9)) for _ in range(4)]
    joined = mosaic(tiles, SIZE, np.random.default_rng(seed))
    white = np.zeros(joined.image.shape[:2], bool)
    for left, top, right, bottom in joined.boxes[:, 1:].astype(int):
        white[top:bottom, left:right] = True
    np.testing.assert_array_equal(joined.image[..., 0] == 255, white)


def test_the_matrix_by_hand() -> None:
    rng = np.random.default_rng(0)
    matrix, zoom = random_matrix((128, 128), (64, 64), still(), rng)
    np.testing.assert_allclose(matrix, [[1, 0, -32], [0, 1, -32], [0, 0, 1]], atol=1e-12)
    assert zoom == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_matrix_is_shift_shear_turn_perspective_centre(seed: int) -> None:
    strong = Augmentation(degrees=30, translate=0.2, scale=0.5, shear=10, perspective=0.001)
    draws = np.random.default_rng(seed)
    px, py = draws.uniform(-1, 1, 2) * 0.001
    angle = math.radians(draws.uniform(-1, 1) * 30)
    zoom = draws.uniform(0.5, 1.5)
    shears = np.tan(np.radians(draws.uniform(-1, 1, 2) * 10))
    shift = draws.uniform(0.3, 0.7, 2) * 64
    point = np.array([20.0, 90.0])

    x, y = point - (100 / 2, 120 / 2)
    depth = px * x + py * y + 1
    turned_x = zoom * (math.cos(angle) * x + math.sin(angle) * y)
    turned_y = zoom * (-math.sin(angle) * x + math.cos(angle) * y)
    sheared = np.array([turned_x + shears[0] * turned_y, turned_y + shears[1] * turned_x])
    expected = (sheared + shift * depth) / depth

    matrix, drawn = random_matrix((120, 100), (64, 64), strong, np.random.default_rng(seed))
    moved = matrix @ [*point, 1]
    assert drawn == zoom
    np.testing.assert_allclose(moved[:2] / moved[2], expected)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_zoom_and_shift_keep_boxes_on_their_pixels(seed: int) -> None:
    sample = marked(128, 128, (48, 52, 80, 76))
    moved = vary(
        sample, (SIZE, SIZE), still(scale=0.5, translate=0.05), np.random.default_rng(seed)
    )
    assert moved.image.shape == (SIZE, SIZE, 3)
    np.testing.assert_allclose(white_box(moved.image), moved.boxes[0, 1:], atol=0.51)


@pytest.mark.parametrize("zoom", [0.5, 2.0])
def test_pixels_do_not_drift_from_boxes_when_zoomed(zoom: float) -> None:
    """Means over the edges of a fine pattern, so that a quarter of a pixel shows."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[16:48, 16:48] = 200
    matrix = np.array([[zoom, 0, 32 * (1 - zoom)], [0, zoom, 32 * (1 - zoom)], [0, 0, 1.0]])
    box = np.array([[0, 16, 16, 48, 48]], np.float32)
    moved = warp(Sample(image, box), matrix, zoom, (64, 64))
    mass = moved.image[..., 0].astype(float)
    mass[moved.image[..., 0] == GREY] = 0
    middle = (mass.sum(axis=0) * (np.arange(64) + 0.5)).sum() / mass.sum()
    assert middle == pytest.approx(moved.boxes[0, [1, 3]].mean(), abs=0.05)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_turn_shear_and_perspective_keep_pixels_in_their_box(seed: int) -> None:
    sample = marked(128, 128, (54, 56, 76, 70))
    strong = still(degrees=45, shear=10, scale=0.2, perspective=0.001)
    moved = vary(sample, (SIZE, SIZE), strong, np.random.default_rng(seed))
    np.testing.assert_allclose(white_box(moved.image), moved.boxes[0, 1:], atol=2)


def test_a_quarter_turn_by_hand() -> None:
    quarter = np.array([[0.0, 1, 0], [-1, 0, 64], [0, 0, 1]])
    sample = marked(64, 64, (10, 20, 30, 26))
    moved = warp(sample, quarter, 1.0, (64, 64))
    assert moved.boxes[0, 1:].tolist() == [20, 34, 26, 54]
    assert white_box(moved.image) == [20, 34, 26, 54]


def test_a_perspective_divides_by_depth() -> None:
    matrix = np.array([[1, 0, 0], [0, 1, 0], [0.01, 0, 1.0]])
    moved = move_boxes(np.array([[0, 0, 0, 100, 100]], np.float32), matrix)
    np.testing.assert_allclose(moved, [[0, 0, 0, 50, 100]])


@pytest.mark.parametrize(
    ("after", "zoom", "kept"),
    [
        ((0, 0, 2, 90), 1.0, False),  # 2 px is too little
        ((0, 0, 2.1, 50), 1.0, True),
        ((0, 0, 10, 9.9), 1.0, False),  # 9.9 % of 1000 px² is left
        ((0, 0, 10, 10), 1.0, False),
        ((0, 0, 10, 10.1), 1.0, True),
        ((0, 0, 10, 3), 0.5, True),  # 30 of 1000 · .25
        ((0, 0, 10, 2.4), 0.5, False),
        ((0, 0, 300, 2.9), 1.0, False),  # 103 times as long as wide
        ((0, 0, 280, 2.9), 1.0, True),
    ],
)
def test_what_is_left_of_a_box_by_hand(after: tuple[float, ...], zoom: float, kept: bool) -> None:
    before = np.array([[1, 0, 0, 50, 20]], np.float32)
    result = keep_visible(before, np.array([[1, *after]], np.float32), zoom)
    assert len(result) == kept


def test_colours_follow_the_textbook() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (1, 200, 3), dtype=np.uint8)
    varied = scale_colours(colours, (1.0, 0.5, 0.8))
    for before, after in zip(colours[0] / 255, varied[0] / 255, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before)
        expected = colorsys.hsv_to_rgb(hue, saturation * 0.5, value * 0.8)
        np.testing.assert_allclose(after, expected, atol=0.04)  # hue in steps of two degrees


def test_colours_saturate_and_hue_goes_round() -> None:
    red = np.full((2, 2, 3), (250, 20, 20), np.uint8)
    assert scale_colours(red, (1, 1, 2)).max() == 255
    magenta = np.full((1, 1, 3), (255, 0, 255), np.uint8)  # 300 degrees, times 1.8 is 540 = 180
    np.testing.assert_allclose(scale_colours(magenta, (1.8, 1, 1))[0, 0], (0, 255, 255), atol=5)
    grey = np.full((1, 1, 3), 90, np.uint8)
    np.testing.assert_array_equal(scale_colours(grey, (1.3, 2, 1)), grey)


def test_no_strength_leaves_the_picture_itself() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    assert vary_colours(image, (0, 0, 0), np.random.default_rng(0)) is image


def test_mixup_blends_by_a_beta_share_and_keeps_both_labels() -> None:
    share = np.random.default_rng(5).beta(32, 32)
    light = marked(8, 8, (0, 0, 8, 8), kind=1)
    dark = Sample(np.full((8, 8, 3), 100, np.uint8), np.array([[2, 0, 0, 4, 4]], np.float32))
    blended = mixup(light, dark, np.random.default_rng(5))
    assert blended.image[0, 0, 0] == pytest.approx(255 * share + 100 * (1 - share), abs=1)
    assert blended.boxes[:, 0].tolist() == [1, 2]


def tile(number: int) -> Sample:
    return marked(48, SIZE, (8, 8, 40, 40), kind=number)


def test_without_augmentation_a_sample_is_a_letterboxed_square() -> None:
    sample = draw(tile, range(4), 2, (SIZE, SIZE), NO_AUGMENTATION, np.random.default_rng(0))
    assert sample.boxes.tolist() == [[2, 8, 16, 40, 48]]
    np.testing.assert_array_equal(sample.image[8:56], tile(2).image)
    assert (sample.image[:8] == GREY).all()
    assert (sample.image[56:] == GREY).all()


@pytest.mark.parametrize("number", [0, 3])
def test_a_mosaic_always_holds_its_image(number: int) -> None:
    asked: list[int] = []

    def load(image: int) -> Sample:
        asked.append(image)
        return tile(image)

    for seed in range(20):
        asked.clear()
        draw(load, range(4), number, (SIZE, SIZE), Augmentation(), np.random.default_rng(seed))
        assert number in asked
        assert len(asked) == 4


def test_mixup_happens_only_inside_a_mosaic() -> None:
    loaded: list[int] = []

    def load(image: int) -> Sample:
        loaded.append(image)
        return tile(image)

    draw(load, range(4), 0, (SIZE, SIZE), still(mixup=1), np.random.default_rng(0))
    assert len(loaded) == 1
    draw(load, range(4), 0, (SIZE, SIZE), still(mixup=1, mosaic=1), np.random.default_rng(0))
    assert len(loaded) == 1 + 8


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_samples_are_square_and_their_boxes_lie_inside(seed: int, mosaic_on: bool) -> None:
    strong = Augmentation(
        mosaic=float(mosaic_on), mixup=0.5, degrees=20, shear=5, perspective=0.0005, flipud=0.5
    )
    sample = draw(tile, range(4), 1, (SIZE, SIZE), strong, np.random.default_rng(seed))
    assert sample.image.shape == (SIZE, SIZE, 3)
    assert sample.image.dtype == np.uint8
    assert ((sample.boxes[:, 1:] >= 0) & (sample.boxes[:, 1:] <= SIZE)).all()
    assert (sample.boxes[:, 3:] - sample.boxes[:, 1:3] > 2).all()


def test_the_defaults_are_the_references() -> None:
    assert Augmentation() == Augmentation(
        mosaic=1, mixup=0, degrees=0, translate=0.1, scale=0.5, shear=0, perspective=0,
        hsv_h=0.015, hsv_s=0.7, hsv_v=0.4, fliplr=0.5, flipud=0,
    )  # fmt: skip
