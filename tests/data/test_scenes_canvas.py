"""Who covers which pixel: boxes and visible shares, by hand on squares."""

import numpy as np
import pytest

from prunus.data.scenes.canvas import MIN_VISIBLE_SHARE, Canvas, Sprite
from prunus.data.scenes.geometry import Grid
from prunus.data.scenes.light import draw_light

PLUM, LEAF = 0, 1


def canvas(height: int = 40, width: int = 60) -> Canvas:
    return Canvas(
        image=np.full((3, height, width), 0.2, dtype=np.float32),
        light=draw_light(np.random.default_rng(0)),
        grain=np.full((128, 128), 0.5, dtype=np.float32),
        dapple=np.ones((height, width), dtype=np.float32),
        ids=np.zeros((height, width), dtype=np.int16),
        near=np.zeros((height, width), dtype=np.float32),
    )


def rectangle(left: int, top: int, right: int, bottom: int, alpha: float = 1.0) -> Sprite:
    x = np.arange(left, right, dtype=np.float32)[None, :] + 0.5
    y = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5
    shape = (bottom - top, right - left)
    rgb = np.full((3, *shape), 0.7, dtype=np.float32)
    return Sprite(Grid(left, top, x, y), rgb, np.full(shape, alpha, dtype=np.float32))


def test_box_of_a_thing_that_nothing_covers_is_its_outline() -> None:
    scene = canvas()
    scene.paint(rectangle(5, 8, 25, 18), kind=LEAF)
    boxes, classes = scene.labels()
    np.testing.assert_array_equal(boxes, [[5, 8, 25, 18]])
    assert boxes.dtype == np.float32
    assert classes.tolist() == [LEAF]


def test_box_shrinks_to_what_can_be_seen() -> None:
    scene = canvas()
    scene.paint(rectangle(0, 0, 20, 10), kind=PLUM)
    scene.paint(rectangle(12, 0, 30, 10), kind=LEAF)
    boxes, classes = scene.labels()
    np.testing.assert_array_equal(boxes, [[0, 0, 12, 10], [12, 0, 30, 10]])
    assert classes.tolist() == [PLUM, LEAF]


def test_box_spans_the_parts_on_both_sides_of_what_lies_across() -> None:
    scene = canvas()
    scene.paint(rectangle(0, 10, 30, 20), kind=LEAF)
    scene.paint(rectangle(10, 0, 16, 40))
    boxes, _ = scene.labels()
    np.testing.assert_array_equal(boxes, [[0, 10, 30, 20]])


@pytest.mark.parametrize(("hidden_columns", "boxes"), [(15, 2), (16, 1)])
def test_thing_of_which_less_than_a_quarter_shows_has_no_box(
    hidden_columns: int, boxes: int
) -> None:
    assert MIN_VISIBLE_SHARE == 0.25
    scene = canvas()
    scene.paint(rectangle(10, 10, 30, 20), kind=PLUM)
    scene.paint(rectangle(10, 10, 10 + hidden_columns, 20), kind=LEAF)
    assert len(scene.labels()[1]) == boxes


@pytest.mark.parametrize(("inside_columns", "boxes"), [(5, 1), (4, 0)])
def test_what_lies_outside_the_picture_counts_as_hidden(inside_columns: int, boxes: int) -> None:
    scene = canvas()
    scene.paint(rectangle(inside_columns - 20, 10, inside_columns, 20), kind=PLUM)
    found, _ = scene.labels()
    assert len(found) == boxes
    if boxes:
        np.testing.assert_array_equal(found, [[0, 10, inside_columns, 20]])


def test_things_without_a_class_hide_others_and_have_no_box() -> None:
    scene = canvas()
    scene.paint(rectangle(10, 10, 30, 20), kind=PLUM)
    scene.paint(rectangle(8, 8, 32, 22))
    assert len(scene.labels()[1]) == 0
    assert not scene.ids.any()


def test_soft_edges_belong_to_whoever_covers_half_of_the_pixel() -> None:
    scene = canvas()
    scene.paint(rectangle(10, 10, 30, 20), kind=PLUM)
    scene.paint(rectangle(10, 10, 20, 20, alpha=0.49), kind=LEAF)
    assert scene.labels()[1].tolist() == [PLUM]
    assert scene.areas == [200, 0]


def test_thing_wholly_outside_leaves_the_picture_alone() -> None:
    scene, untouched = canvas(), canvas()
    scene.paint(rectangle(100, 100, 120, 120), kind=PLUM)
    np.testing.assert_array_equal(scene.image, untouched.image)
    assert len(scene.labels()[1]) == 0


def test_defocus_keeps_the_middle_and_spreads_the_edge() -> None:
    sharp = rectangle(10, 10, 30, 30)
    soft = sharp.blurred(2.0)
    assert soft.grid.left < 10
    assert soft.grid.shape == soft.alpha.shape == soft.rgb.shape[1:]
    assert soft.alpha.sum() == pytest.approx(sharp.alpha.sum(), rel=5e-3)
    middle = 20 - soft.grid.left
    assert soft.alpha[middle, middle] == pytest.approx(1, abs=1e-3)
    assert soft.rgb[0, middle, middle] == pytest.approx(0.7, abs=1e-3)
    assert 0 < soft.alpha[middle, 9 - soft.grid.left] < 0.5


def test_shadow_falls_only_on_things_that_are_near() -> None:
    on_air, on_wall = canvas(), canvas()
    on_wall.near[:] = 1.0
    for scene in (on_air, on_wall):
        scene.paint(rectangle(20, 10, 40, 25, alpha=0.0001), kind=None, height=0.1)
    before = on_air.image.sum()
    for scene in (on_air, on_wall):
        scene.paint(rectangle(20, 10, 40, 25), kind=PLUM, height=0.1)
    outside = on_wall.ids == 0
    assert on_wall.image[:, outside].sum() < on_air.image[:, outside].sum()
    assert on_air.image[:, outside] == pytest.approx(0.2)
    assert before == pytest.approx(0.2 * 3 * 40 * 60, rel=1e-2)
