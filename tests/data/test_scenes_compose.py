"""Generated scenes: what a detector is promised about them."""

import numpy as np
import pytest

from prunus.data.scenes.canvas import MIN_VISIBLE_SHARE, SOLID
from prunus.data.scenes.compose import CLASS_NAMES, MIN_OBJECTS, Scene, paint_scene, render_scene
from prunus.data.scenes.geometry import coverage, grid_around
from prunus.data.scenes.layout import MAX_OBJECTS

SIZE = (96, 128)
scenes = pytest.mark.parametrize("number", range(12))


def test_same_seed_and_number_give_the_same_picture_whatever_came_before() -> None:
    first = render_scene(3, 7, SIZE)
    render_scene(3, 8, SIZE)
    again = render_scene(3, 7, SIZE)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.boxes_xyxy, again.boxes_xyxy)
    np.testing.assert_array_equal(first.classes, again.classes)


@pytest.mark.parametrize("other", [(4, 7), (3, 8), (7, 3)])
def test_pictures_differ_between_seeds_and_numbers(other: tuple[int, int]) -> None:
    one, two = render_scene(3, 7, SIZE).image, render_scene(*other, SIZE).image
    assert np.abs(one.astype(int) - two).mean() > 5


@scenes
def test_record_has_the_promised_types_and_boxes_inside_the_picture(number: int) -> None:
    scene = render_scene(0, number, SIZE)
    height, width = SIZE
    assert scene.image.shape == (height, width, 3)
    assert (scene.image.dtype, scene.boxes_xyxy.dtype) == (np.uint8, np.float32)
    assert scene.classes.dtype == np.int64
    assert scene.boxes_xyxy.shape == (len(scene.classes), 4)
    assert MIN_OBJECTS <= len(scene.classes) <= MAX_OBJECTS
    left, top, right, bottom = scene.boxes_xyxy.T
    assert (left >= 0).all() and (top >= 0).all()
    assert (right <= width).all() and (bottom <= height).all()
    assert (right > left).all() and (bottom > top).all()
    assert set(scene.classes.tolist()) <= set(range(len(CLASS_NAMES)))


@scenes
def test_boxes_are_tight_around_what_the_buffer_shows(number: int) -> None:
    canvas = paint_scene(np.random.default_rng((1, number)), SIZE)
    boxes, classes = canvas.labels()
    remaining = list(zip(boxes.tolist(), classes.tolist(), strict=True))
    for object_number, (kind, area) in enumerate(
        zip(canvas.classes, canvas.areas, strict=True), start=1
    ):
        rows, columns = np.nonzero(canvas.ids == object_number)
        assert len(rows) <= area, "more can be seen than there is"
        if len(rows) < MIN_VISIBLE_SHARE * area or area == 0:
            continue
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert remaining.pop(0) == (box, kind)
    assert remaining == []


@scenes
def test_paint_is_finite_light_in_single_precision(number: int) -> None:
    canvas = paint_scene(np.random.default_rng((2, number)), SIZE)
    assert canvas.image.dtype == np.float32, "doubles halve the speed"
    assert np.isfinite(canvas.image).all()
    assert canvas.image.min() >= 0


@pytest.mark.parametrize("number", range(3))
def test_scene_is_the_same_at_twice_the_size(number: int) -> None:
    small, large = (render_scene(5, number, (side, side)) for side in (160, 320))
    assert small.classes.tolist() == large.classes.tolist()
    np.testing.assert_allclose(2 * small.boxes_xyxy, large.boxes_xyxy, atol=8)
    halved = large.image.reshape(160, 2, 160, 2, 3).mean(axis=(1, 3))
    assert np.abs(halved - small.image).mean() < 12


def test_every_class_occurs_about_as_often() -> None:
    classes = np.concatenate([render_scene(0, n, (64, 64)).classes for n in range(60)])
    shares = np.bincount(classes, minlength=len(CLASS_NAMES)) / len(classes)
    assert shares.min() > 0.2, f"shares of {CLASS_NAMES}: {shares}"


def test_most_objects_are_of_middling_size() -> None:
    boxes = np.concatenate([render_scene(1, n, (96, 96)).boxes_xyxy for n in range(40)])
    sides = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])) / 96
    assert 0.12 < np.median(sides) < 0.3
    assert np.quantile(sides, 0.05) > 0.05


def test_scene_cannot_be_changed() -> None:
    scene = render_scene(0, 0, (64, 64))
    with pytest.raises(AttributeError, match="cannot assign to field 'classes'"):
        scene.classes = np.zeros(0, dtype=np.int64)  # type: ignore[misc]
    assert isinstance(scene, Scene)


def test_coverage_of_a_disc_is_its_area_and_half_at_the_edge() -> None:
    grid = grid_around(20.0, 20.0, 12.0)
    inside = 100 - (grid.x - 20) ** 2 - (grid.y - 20) ** 2
    alpha = coverage(inside.astype(np.float32))
    assert alpha.sum() == pytest.approx(np.pi * 100, rel=0.01)
    assert (alpha >= SOLID).sum() == pytest.approx(np.pi * 100, rel=0.03)
