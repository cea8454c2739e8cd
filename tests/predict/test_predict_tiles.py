"""Tiles cover, find what is small, and their boxes come together in the picture's pixels."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from prunus.core.records import Detections, Runner
from prunus.data.decode import Pixels
from prunus.predict.detect import detect
from prunus.predict.selection import Selection
from prunus.predict.shot import Shot
from prunus.predict.sources.held import HeldPicture
from prunus.predict.stages import Stages
from prunus.predict.tiles import Look, Tile, tiles_of, without_pieces

MakeScene = Callable[..., Pixels]


def look_at(runner: Runner, image: Pixels, look: Look, **selection: Any) -> Detections:
    shots = [Shot(image, HeldPicture(image))]
    ((_, found),) = detect(runner, shots, look, Selection(**selection), Stages())
    return found


def test_tiles_by_hand() -> None:
    assert tiles_of((100, 250), 100, 0.2) == [
        Tile(0, 0, 100, 100), Tile(75, 0, 175, 100), Tile(150, 0, 250, 100)
    ]  # fmt: skip
    assert tiles_of((60, 100), 100, 0.2) == [Tile(0, 0, 100, 60)]
    assert len(tiles_of((1080, 1920), 640, 0.2)) == 2 * 4


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 300), st.integers(1, 300), st.integers(8, 120), st.floats(0, 0.9),
)  # fmt: skip
def test_tiles_cover_every_pixel_and_overlap_as_asked(
    height: int, width: int, side: int, overlap: float
) -> None:
    tiles = tiles_of((height, width), side, overlap)
    seen = np.zeros((height, width), bool)
    for tile in tiles:
        assert tile.left >= 0
        assert tile.top >= 0
        seen[tile.top : tile.bottom, tile.left : tile.right] = True
    assert seen.all()
    shapes = {(tile.bottom - tile.top, tile.right - tile.left) for tile in tiles}
    assert shapes == {(min(side, height), min(side, width))}, "so that they go in batches"
    assert len(set(tiles)) == len(tiles)
    for low, high in ((0, 2), (1, 3)):
        starts = sorted({tile[low] for tile in tiles})
        length = tiles[0][high] - tiles[0][low]
        for one, other in pairwise(starts):
            assert one + length - other >= np.floor(length * overlap) - 1


SMALL = [(20, 30, 26, 36), (500, 40, 506, 46), (796, 590, 800, 596), (390, 300, 400, 310)]
LARGE = (100, 100, 460, 460)


def test_small_things_are_lost_without_tiles_and_found_with_them(
    squares: Any, make_scene: MakeScene
) -> None:
    image = make_scene((600, 800), *SMALL)
    assert len(look_at(squares(), image, Look(96))) < 2
    found = look_at(squares(), image, Look(160, tile=160))
    boxes = sorted(map(tuple, found.boxes_xyxy.tolist()))
    assert boxes == sorted(SMALL), "to the pixel, once each"


@pytest.mark.parametrize("image_size", [160, 320])
@pytest.mark.parametrize(
    ("size_hw", "batch"), [(None, None), ((160, 160), 1), ((160, 160), 3), ((96, 160), None)]
)
def test_whatever_the_runner_takes_boxes_lie_where_things_are(
    size_hw: Any, batch: Any, image_size: int, squares: Any, make_scene: MakeScene
) -> None:
    image = make_scene((300, 500), (30, 40, 60, 70), (410, 210, 440, 240))
    found = look_at(squares(size_hw, batch), image, Look(image_size, tile=200), confidence=0.3)
    boxes = np.array(sorted(found.boxes_xyxy.tolist()))
    np.testing.assert_allclose(boxes, [(30, 40, 60, 70), (410, 210, 440, 240)], atol=3.5)


def test_what_no_tile_shows_whole_is_one_box(squares: Any, make_scene: MakeScene) -> None:
    image = make_scene((600, 800), LARGE)
    found = look_at(squares(), image, Look(160, tile=160))
    assert len(found) == 1, "the tiles' parts of it are left out"
    np.testing.assert_allclose(found.boxes_xyxy[0], LARGE, atol=5)


def test_a_picture_no_larger_than_a_tile_is_looked_at_once(
    squares: Any, make_scene: MakeScene
) -> None:
    runner = squares()
    image = make_scene((100, 160), (20, 20, 60, 60))
    plain = look_at(squares(), image, Look(160))
    found = look_at(runner, image, Look(160, tile=160))
    assert runner.shapes == [(1, 3, 128, 160)]
    np.testing.assert_array_equal(found.boxes_xyxy, plain.boxes_xyxy)


def test_tiles_go_in_batches_of_bounded_size(squares: Any, make_scene: MakeScene) -> None:
    runner = squares()
    look_at(runner, make_scene((1000, 1000)), Look(96, tile=96))
    assert max(shape[0] for shape in runner.shapes) == 4
    assert sum(shape[0] for shape in runner.shapes) == 1 + len(tiles_of((1000, 1000), 96, 0.2))


def rows(*boxes: tuple[float, ...]) -> Tensor:
    return torch.tensor([[*box[:4], 0.5, *box[4:]] for box in boxes], dtype=torch.float32)


def test_pieces_by_hand() -> None:
    tiles, everything = tiles_of((100, 180), 100, 0.2), Tile(0, 0, 180, 100)
    whole = (20, 20, 150, 80, 0)
    cut_right, cut_left = (20, 20, 100, 80, 0), (80, 22, 150, 80, 0)
    other_class, inside, at_border = (30, 20, 100, 80, 1), (40, 30, 60, 50, 0), (0, 0, 90, 20, 0)
    large = (0, 0, 165, 30, 0)
    found = rows(whole, cut_right, cut_left, other_class, inside, at_border, large)
    stays = without_pieces(found, tiles, everything)
    torch.testing.assert_close(stays, found[[0, 3, 4, 5, 6]])
    alone = rows(cut_right, cut_left)
    torch.testing.assert_close(without_pieces(alone, tiles, everything), alone)
    everyone = without_pieces(found, tiles, everything, agnostic=True)
    torch.testing.assert_close(everyone, found[[0, 4, 5, 6]])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [None, (1, 3)])
def test_a_shortlist_gives_the_same_detections(seed: int, classes: Any) -> None:
    torch.manual_seed(seed)
    candidates = torch.rand(1, 400, 5 + 4)
    candidates[..., :4] = candidates[..., :4] * 60 + 10
    selection = Selection(0.3, 0.5, 300, classes)
    short = selection.shortlist(candidates[0])
    assert len(short) < 400
    torch.testing.assert_close(selection.apply(short[None])[0], selection.apply(candidates)[0])


def test_a_shortlist_is_never_longer_than_the_suppression_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("prunus.predict.selection.MAX_CANDIDATES", 50)
    candidates = torch.rand(400, 7)
    short = Selection(0.0).shortlist(candidates)
    scores = candidates[:, 4] * candidates[:, 5:].amax(dim=1)
    assert len(short) == 50
    expected = scores.sort(descending=True).values[:50].sort().values
    found = (short[:, 4] * short[:, 5:].amax(dim=1)).sort().values
    torch.testing.assert_close(found, expected)
