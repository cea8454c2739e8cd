"""Boxes are drawn where they are, and nothing else is touched."""

import colorsys
import itertools

import numpy as np
import pytest

from prunus.core.records import Detections
from prunus.predict.draw import COLOURS, Picture, colour_of, draw, montage, side_by_side

NAMES = ("plum", "leaf", "fallen blossom")


def photo(height: int = 200, width: int = 300, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def found(*boxes: tuple[float, float, float, float]) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(count, 4),
        np.linspace(0.9, 0.5, count, dtype=np.float32),
        np.arange(count, dtype=np.int64) % len(NAMES),
    )


def test_pixels_outside_and_inside_the_box_stay_as_they_were() -> None:
    image = photo()
    drawn = draw(image, found((100, 80, 200, 160)), NAMES, line_width=2, with_names=False)
    reach = 3  # half a line and its soft edge
    untouched = np.ones(image.shape[:2], dtype=bool)
    untouched[80 - reach : 160 + reach + 1, 100 - reach : 200 + reach + 1] = False
    untouched[80 + reach + 1 : 160 - reach, 100 + reach + 1 : 200 - reach] = True
    assert (drawn == image)[untouched].all()
    assert (drawn[80, 110:190] == colour_of(0)).all(), "the line lies on the box's edge"
    assert (drawn[90:150, 200] == colour_of(0)).all()


def test_a_tag_stands_above_its_box_in_the_colour_of_the_class() -> None:
    image = photo()
    drawn = draw(image, found((100, 80, 200, 160)), NAMES, line_width=2)
    changed = np.argwhere((drawn != image).any(axis=2))
    assert changed[:, 0].min() < 78, "above the box"
    assert changed[:, 0].max() <= 163
    assert changed[:, 1].min() >= 97
    assert (drawn[66:76, 99:102] == colour_of(0)).all(), "left of the letters"


@pytest.mark.parametrize(
    "box", [(0, 0, 50, 40), (280, 0, 300, 30), (250, 150, 300, 200), (-5, -5, 310, 210)]
)
def test_tags_stay_in_the_image(box: tuple[float, float, float, float]) -> None:
    drawn = draw(photo(), found(box), ("a rather long class name",) * 3)
    assert drawn.shape == (200, 300, 3)
    coloured = (drawn == colour_of(0)).all(axis=2)
    tag_row = coloured.sum(axis=1).argmax()
    assert coloured[tag_row].sum() > 120, "the tag is there in its whole length"


def test_an_image_smaller_than_its_tag_is_drawn() -> None:
    assert draw(photo(12, 15), found((1, 1, 10, 10)), NAMES).shape == (12, 15, 3)


def test_the_input_is_left_alone_and_nothing_found_draws_nothing() -> None:
    image = photo()
    before = image.copy()
    draw(image, found((10, 10, 50, 50)), NAMES)
    assert (image == before).all()
    assert (draw(image, found(), NAMES) == image).all()


def test_the_most_confident_lies_on_top() -> None:
    detections = found((50, 50, 150, 150), (50, 50, 150, 150))
    drawn = draw(photo(), detections, NAMES, line_width=2, with_names=False)
    assert tuple(drawn[50, 100]) == colour_of(0)


def test_mirrored_storage_is_drawn_upon() -> None:
    image = photo()[:, ::-1]
    assert (draw(image, found((10, 10, 50, 50)), NAMES) != image).any()


def test_colours_differ_from_class_to_class() -> None:
    colours = [colour_of(number) for number in range(80)]
    assert len(set(colours)) == 80
    for one, other in itertools.combinations(COLOURS, 2):
        assert np.abs(np.subtract(one, other)).sum() > 60
    for colour in colours[len(COLOURS) :]:
        assert colorsys.rgb_to_hls(*(value / 255 for value in colour))[2] > 0.6, "none is grey"


def test_a_montage_shows_every_picture_in_its_column() -> None:
    flat = [np.full((50, 100, 3), value, dtype=np.uint8) for value in (10, 60, 110, 160)]
    page = montage([flat[:2], flat[2:]], ["before", "after\nhalf the time"], column_px=100)
    places = {value: np.argwhere((page == value).all(axis=2)) for value in (10, 60, 110, 160)}
    for value, place in places.items():
        assert len(place) >= 100 * 50, f"{value} is there whole"
    corners = {value: tuple(place.min(axis=0)) for value, place in places.items()}
    assert corners[10][0] == corners[60][0] < corners[110][0] == corners[160][0]
    assert corners[10][1] == corners[110][1] < corners[60][1] == corners[160][1]
    assert tuple(page[0, 0]) == (255, 255, 255)
    assert page[: corners[10][0]].min() < 100, "captions stand above"


def test_pictures_of_any_size_fit_their_column() -> None:
    page = side_by_side([photo(30, 200)], [photo(400, 100)], ("a", "b"))
    assert page.shape[1] == 2 * 640 + 3 * 16
    assert page.shape[0] > 4 * 640


def test_captions_must_match_the_columns() -> None:
    with pytest.raises(ValueError, match="2 captions need rows of as many pictures"):
        montage([[photo()]], ["a", "b"])
