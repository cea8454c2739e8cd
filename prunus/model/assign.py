"""Which anchors, in which cells, learn which box.

The rule of the YOLOv5 family: an anchor takes every target whose sides differ from its own by less
than a factor (no best-anchor forcing), and each match is repeated in the two cells nearest to the
target's centre, so that three cells learn each box. Specification sheet, section 2.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from prunus.core.records import Size

NEIGHBOUR_REACH = 0.5
"""Cells. A centre within half a cell of an edge is also given to the cell beyond that edge."""


@dataclass(frozen=True)
class LevelMatches:
    """The M matches of one level, in the order cell itself, left, top, right, bottom; anchor;
    target.

    Attributes:
        image: (M,) int64, number of the image in the batch.
        anchor: (M,) int64, number of the anchor in the level.
        row: (M,) int64, the cell's row in the grid.
        column: (M,) int64.
        boxes: (M, 4) centre relative to the cell's corner, and size; in cells.
        anchor_sizes: (M, 2) width and height, in cells.
        classes: (M,) int64.
    """

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    boxes: Tensor
    anchor_sizes: Tensor
    classes: Tensor

    def __len__(self) -> int:
        return len(self.image)


def assign(
    targets: Tensor, anchors: Tensor, grids_hw: Sequence[Size], threshold: float
) -> list[LevelMatches]:
    """Match every target with anchors and cells of every level.

    Args:
        targets: (T, 6) image, class, centre x, centre y, width, height; the last four as shares of
            the image.
        anchors: (L, A, 2) in cells of their level.
        grids_hw: L grid sizes (rows, columns).
        threshold: An anchor matches when both sides differ from the target's by less than this
            factor.

    Returns:
        L sets of matches. A target may have none at all.
    """
    return [
        _assign_level(targets, level_anchors, grid_hw, threshold)
        for level_anchors, grid_hw in zip(anchors, grids_hw, strict=True)
    ]


def _assign_level(
    targets: Tensor, anchors: Tensor, grid_hw: Size, threshold: float
) -> LevelMatches:
    rows, columns = grid_hw
    grid = targets.new_tensor([columns, rows])
    centres, sizes = targets[:, 2:4] * grid, targets[:, 4:6] * grid  # (T, 2) in cells
    anchor, target = _matching_pairs(sizes, anchors, threshold)
    shift, pair = _cells_of(centres[target], grid)

    anchor, target = anchor[pair], target[pair]
    cell = (centres[target] - shift).floor()
    cell = torch.minimum(cell.clamp(min=0), grid - 1)
    column, row = cell.long().unbind(1)
    return LevelMatches(
        image=targets[target, 0].long(),
        anchor=anchor,
        row=row,
        column=column,
        boxes=torch.cat((centres[target] - cell, sizes[target]), dim=1),
        anchor_sizes=anchors[anchor],
        classes=targets[target, 1].long(),
    )


def _matching_pairs(sizes: Tensor, anchors: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Return the numbers (anchor, target) of all pairs of like size, ordered by anchor."""
    ratio = sizes[None] / anchors[:, None]  # (A, T, 2)
    unlikeness = torch.maximum(ratio, 1 / ratio).amax(dim=2)
    anchor, target = torch.nonzero(unlikeness < threshold, as_tuple=True)
    return anchor, target


def _cells_of(centres: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat each centre for its own cell and for the neighbours that it lies near to.

    Returns:
        shift: (M, 2) to be subtracted from the centre before rounding down.
        pair: (M,) which of the given centres.
    """
    from_far_side = grid - centres
    left, top = _near_edge(centres).unbind(1)
    right, bottom = _near_edge(from_far_side).unbind(1)
    takes = torch.stack((torch.ones_like(left), left, top, right, bottom))  # (5, P)
    where, pair = torch.nonzero(takes, as_tuple=True)
    shifts = centres.new_tensor([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]]) * NEIGHBOUR_REACH
    return shifts[where], pair


def _near_edge(position: Tensor) -> Tensor:
    """Whether a position lies in the nearer half of its cell, and a cell lies beyond that edge."""
    return (position % 1 < NEIGHBOUR_REACH) & (position > 1)
