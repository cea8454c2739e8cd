"""Large pictures: tiles at full sharpness beside the whole picture, merged by the same suppression.

What is small in a large picture vanishes when that is made to fit. Tiles overlap, so that what one
cuts another shows whole, if it is smaller than the overlap; what is larger is seen in the whole
picture. A box of the cut part is then left over: see `without_pieces`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from prunus.core.boxes import xywh_to_xyxy, xyxy_to_xywh
from prunus.core.errors import ConfigError
from prunus.core.records import Runner, Size
from prunus.data.decode import Pixels
from prunus.predict.config import IMAGE_SIZE, TILE_OVERLAP
from prunus.predict.fit import Fitted, fit, run_on
from prunus.predict.selection import Selection
from prunus.predict.stages import Stages

TILE_BATCH = 4
"""Tiles that are looked at together, where the runner does not say."""
EDGE_SHARE = 0.01
"""Of the tile's side: a box that comes so near to the edge is taken to be cut by it."""
COVERED = 0.8
"""Of a cut box's area: where another box covers as much, it shows the whole of the same thing."""


@dataclass(frozen=True)
class Look:
    """How a picture is looked at.

    Attributes:
        image_size: What its long side is brought to, in pixels.
        tile: Side of the tiles of a larger picture; None for no tiles.
        tile_overlap: Least share of a tile that the next one shows again.
    """

    image_size: int = IMAGE_SIZE
    tile: int | None = None
    tile_overlap: float = TILE_OVERLAP

    def __post_init__(self) -> None:
        """Refuse what no picture can be looked at with.

        Raises:
            ConfigError: A side of less than a pixel, or tiles that do not go on.
        """
        for name, side in (("image_size", self.image_size), ("tile", self.tile)):
            if side is not None and side < 1:
                raise ConfigError(f"{name}: must be at least 1, got {side}.")
        if not 0 <= self.tile_overlap < 1:
            raise ConfigError(f"tile_overlap: give a share in [0, 1), got {self.tile_overlap:g}.")


class Tile(NamedTuple):
    """A part of a picture, in its pixels; right and bottom lie just outside."""

    left: int
    top: int
    right: int
    bottom: int


def tiles_of(size_hw: Size, side: int, overlap: float) -> list[Tile]:
    """Return equally large tiles that cover a picture, row by row.

    Args:
        size_hw: The picture, in pixels.
        side: Of a tile; a picture narrower than that has narrower tiles.
        overlap: Least share of a tile that the next one shows again, in [0, 1).
    """
    height, width = size_hw
    tall, wide = min(side, height), min(side, width)
    return [
        Tile(left, top, left + wide, top + tall)
        for top in _starts(height, tall, overlap)
        for left in _starts(width, wide, overlap)
    ]


def look_at_tiles(
    runner: Runner,
    image: Pixels,
    whole: Fitted,
    look: Look,
    selection: Selection,
    stages: Stages,
) -> Tensor:
    """Return (n, 6) detections in the picture's pixels: xyxy, score, class.

    Args:
        runner: What looks.
        image: (H, W, 3) uint8 RGB.
        whole: All of it, fitted.
        look: Its `tile` is given; tiles are brought to its `image_size`, too.
        selection: Which candidates count.
        stages: Told how long things take.
    """
    height, width = image.shape[:2]
    everything = Tile(0, 0, width, height)
    assert look.tile is not None
    tiles = tiles_of((height, width), look.tile, look.tile_overlap)
    with stages.measure("inference"):
        candidates = run_on(runner, [whole]).cpu()
    found = _moved(selection.shortlist(candidates[0]), whole, everything)
    for batch in _batches(tiles, runner.batch or TILE_BATCH):
        with stages.measure("letterbox"):
            parts = [fit(_part(image, each), runner, look.image_size, Path()) for each in batch]
        with stages.measure("inference"):
            candidates = run_on(runner, parts).cpu()
        with stages.measure("nms"):
            rows = [
                _moved(selection.shortlist(of_part), part, each)
                for of_part, part, each in zip(candidates, parts, batch, strict=True)
            ]
            found = selection.shortlist(torch.cat([found, *rows]))
    with stages.measure("nms"):
        kept = selection.apply(found[None])[0]
        return without_pieces(kept, tiles, everything, agnostic=selection.agnostic)


def without_pieces(
    found: Tensor, tiles: list[Tile], everything: Tile, *, agnostic: bool = False
) -> Tensor:
    """Leave out boxes of parts: cut by a tile's edge, and mostly covered by a larger box.

    Args:
        found: (n, 6) xyxy in the picture's pixels, score, class.
        tiles: What was looked at.
        everything: The whole picture.
        agnostic: The larger box may be of another class.
    """
    cut = _is_cut(found, tiles, everything).nonzero()[:, 0]
    if not len(cut):
        return found
    boxes, pieces = found[:, None, :4], found[None, cut, :4]
    lengths = torch.minimum(boxes[..., 2:], pieces[..., 2:]) - torch.maximum(
        boxes[..., :2], pieces[..., :2]
    )
    shared = lengths.clamp(min=0).prod(dim=2)  # (n, pieces)
    areas = (found[:, 2:4] - found[:, :2]).prod(dim=1)
    covered = (shared >= COVERED * areas[cut]) & (areas[:, None] > areas[cut])
    if not agnostic:
        covered &= found[:, None, 5] == found[cut, 5]
    stays = torch.ones(len(found), dtype=torch.bool)
    stays[cut] = ~covered.any(dim=0)
    return found[stays]


def _is_cut(found: Tensor, tiles: list[Tile], everything: Tile) -> Tensor:
    """Return (n,) bool: does a side lie on a tile's same side that is no side of the picture?"""
    near = EDGE_SHARE * max(tiles[0].right - tiles[0].left, tiles[0].bottom - tiles[0].top)
    cut = torch.zeros(len(found), dtype=torch.bool)
    for side, border in enumerate(everything):
        edges = torch.tensor(sorted({tile[side] for tile in tiles} - {border}))
        cut |= ((found[:, side, None] - edges).abs() <= near).any(dim=1)
    return cut


def _moved(candidates: Tensor, fitted: Fitted, place: Tile) -> Tensor:
    """Carry (n, 5 + K) candidates to the picture's pixels, clipped to their part of it."""
    boxes = fitted.frame.to_image(xywh_to_xyxy(candidates[:, :4]).numpy())
    corner = torch.tensor([place.left, place.top] * 2, dtype=torch.float32)
    moved = xyxy_to_xywh(torch.from_numpy(boxes) + corner)
    return torch.cat((moved, candidates[:, 4:]), dim=1)


def _part(image: Pixels, tile: Tile) -> Pixels:
    return image[tile.top : tile.bottom, tile.left : tile.right]


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Return where tiles start along one side: first at 0, last at the end, evenly apart."""
    step = max(1, math.floor(side * (1 - overlap)))
    gaps = -(-(length - side) // step)
    return [round(number * (length - side) / gaps) for number in range(gaps + 1)] if gaps else [0]


def _batches(tiles: list[Tile], size: int) -> Iterator[list[Tile]]:
    for start in range(0, len(tiles), size):
        yield tiles[start : start + size]
