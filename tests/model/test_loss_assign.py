"""Target assignment against a slow loop over targets that follows the specification."""

import math

import pytest
import torch
from torch import Tensor

from prunus.model.assign import assign

ANCHORS = torch.tensor(
    [[[1.25, 1.6], [2.0, 3.75], [4.1, 2.9]], [[1.9, 3.8], [3.9, 2.8], [3.7, 7.4]]]
)
GRIDS_HW = [(8, 10), (4, 5)]
Match = tuple[int, ...]


def slow_matches(targets: Tensor, level: int, threshold: float) -> list[tuple[Match, list[float]]]:
    """Every (image, class, anchor, row, column) with its box, one target after the other."""
    rows, columns = GRIDS_HW[level]
    found = []
    for image, kind, share_x, share_y, share_w, share_h in targets.tolist():
        x, y, w, h = share_x * columns, share_y * rows, share_w * columns, share_h * rows
        for number, (anchor_w, anchor_h) in enumerate(ANCHORS[level].tolist()):
            if max(w / anchor_w, anchor_w / w, h / anchor_h, anchor_h / h) >= threshold:
                continue
            cells = [(math.floor(x), math.floor(y))]
            if x % 1 < 0.5 and x > 1:
                cells.append((math.floor(x) - 1, math.floor(y)))
            if y % 1 < 0.5 and y > 1:
                cells.append((math.floor(x), math.floor(y) - 1))
            if (columns - x) % 1 < 0.5 and columns - x > 1:
                cells.append((math.floor(x) + 1, math.floor(y)))
            if (rows - y) % 1 < 0.5 and rows - y > 1:
                cells.append((math.floor(x), math.floor(y) + 1))
            for column, row in cells:
                column, row = min(column, columns - 1), min(row, rows - 1)
                found.append(
                    ((int(image), int(kind), number, row, column), [x - column, y - row, w, h])
                )
    return found


def random_targets(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shares = torch.rand(count, 4, generator=generator)
    shares[:, 2:] = shares[:, 2:] * 0.7 + 0.02
    image = torch.randint(0, 3, (count, 1), generator=generator).float()
    kind = torch.randint(0, 5, (count, 1), generator=generator).float()
    return torch.cat((image, kind, shares), dim=1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold", [2.0, 4.0])
def test_agrees_with_a_loop_over_targets(seed: int, threshold: float) -> None:
    targets = random_targets(40, seed)
    for level, found in enumerate(assign(targets, ANCHORS, GRIDS_HW, threshold)):
        columns = (found.image, found.classes, found.anchor, found.row, found.column)
        keys = [tuple(values) for values in torch.stack(columns, dim=1).tolist()]
        mine = sorted(zip(keys, found.boxes.tolist(), strict=True))
        slow = sorted(slow_matches(targets, level, threshold))
        assert len(mine) > 20
        assert [key for key, _ in mine] == [key for key, _ in slow]
        torch.testing.assert_close(
            torch.tensor([box for _, box in mine]), torch.tensor([box for _, box in slow])
        )
        torch.testing.assert_close(found.anchor_sizes, ANCHORS[level][found.anchor])


def test_a_box_in_the_middle_of_a_cell_reaches_three_cells() -> None:
    target = torch.tensor(
        [[0, 0, 0.45, 0.45, 0.2, 0.2]]
    )  # at 4.5 cells, 2 cells wide; 4.5 % 1 is not < .5
    (found,) = assign(target, torch.tensor([[[2.0, 2.0]]]), [(10, 10)], 4.0)
    cells = list(zip(found.column.tolist(), found.row.tolist(), strict=True))
    assert cells == [(4, 4)]
    nudged = torch.tensor([[0, 0, 0.44, 0.47, 0.2, 0.2]])
    (found,) = assign(nudged, torch.tensor([[[2.0, 2.0]]]), [(10, 10)], 4.0)
    cells = list(zip(found.column.tolist(), found.row.tolist(), strict=True))
    assert cells == [(4, 4), (3, 4), (4, 5)]


def test_no_cell_lies_outside_the_grid() -> None:
    corners = [
        [0, 0, x, y, 0.3, 0.3] for x in (0.0, 0.05, 0.95, 1.0) for y in (0.0, 0.05, 0.95, 1.0)
    ]
    for found, (rows, columns) in zip(
        assign(torch.tensor(corners), ANCHORS, GRIDS_HW, 4.0), GRIDS_HW, strict=True
    ):
        assert len(found)
        assert found.row.min() >= 0
        assert found.row.max() < rows
        assert found.column.min() >= 0
        assert found.column.max() < columns


def test_a_box_unlike_every_anchor_and_no_box_at_all_match_nothing() -> None:
    sliver = torch.tensor([[0, 0, 0.5, 0.5, 0.9, 0.01]])
    assert [len(found) for found in assign(sliver, ANCHORS, GRIDS_HW, 4.0)] == [0, 0]
    assert [len(found) for found in assign(torch.zeros(0, 6), ANCHORS, GRIDS_HW, 4.0)] == [0, 0]
