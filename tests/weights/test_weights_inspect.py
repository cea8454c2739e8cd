"""Rows are told as they are, pruned widths included."""

import pytest

from prunus.model.build import build_detector
from prunus.model.cost import count_flops, count_parameters
from prunus.model.detector import Detector
from prunus.model.spec import read_arch
from prunus.weights.inspect import inspect_rows, rows_table


def test_rows_of_yolov5n_have_their_known_figures() -> None:
    """Parameters of each row as official checkpoints record them; frozen share: spec sheet 2.5."""
    detector = build_detector(read_arch("yolov5n"), [str(i) for i in range(80)])
    rows = inspect_rows(detector)
    assert [row.parameters for row in rows[:4]] == [1760, 4672, 4800, 18560]
    assert rows[24].parameters == 115_005
    assert (rows[24].block, rows[24].sources, rows[24].in_channels) == (
        "Detect",
        (17, 20, 23),
        (64, 128, 256),
    )
    assert rows[24].out_channels == 3 * 3 * 85
    assert (rows[12].sources, rows[12].in_channels, rows[12].out_channels) == (
        (11, 6),
        (128, 128),
        256,
    )
    assert (rows[0].sources, rows[0].in_channels, rows[0].out_channels) == ((-1,), (3,), 16)
    assert rows[9].frozen_share == pytest.approx(0.559, abs=5e-4)
    assert [row.backbone for row in rows].count(True) == 10
    c3 = (2, 4, 6, 8, 13, 17, 20, 23)
    assert [rows[index].repeats for index in c3] == [1, 2, 3, 1, 1, 1, 1, 1]
    assert all(row.repeats == 1 for row in rows if row.index not in c3)


def test_rows_add_up_to_the_detector(narrow_detector: Detector) -> None:
    rows = inspect_rows(narrow_detector, (64, 64))
    assert sum(row.parameters for row in rows) == count_parameters(narrow_detector)
    assert sum(row.flops for row in rows) == count_flops(narrow_detector, (64, 64))
    assert rows[-1].frozen_share == 1
    assert (rows[0].out_channels, rows[1].in_channels) == (5, (5,))
    # 5 filters of 3 x 6 x 6 weights on 32 x 32 places, 2 operations each
    assert rows[0].flops == 2 * 5 * 3 * 36 * 32 * 32


def test_repeats_are_those_that_are_left(small_detector: Detector) -> None:
    small_detector.model[8].m = type(small_detector.model[8].m)()
    rows = inspect_rows(small_detector, (64, 64))
    assert (rows[2].repeats, rows[8].repeats) == (2, 0)
    header, _, *lines = rows_table(rows).splitlines()[1:]
    assert header.split()[:4] == ["row", "block", "repeats", "from"]
    assert (lines[2].split()[2], lines[8].split()[2]) == ("2", "0")


def test_looking_changes_nothing(small_detector: Detector) -> None:
    small_detector.train()
    inspect_rows(small_detector)
    assert small_detector.training
    assert not any(layer._forward_hooks for layer in small_detector.modules())
    assert all(not parameter.is_meta for parameter in small_detector.parameters())


def test_the_table_has_a_line_a_row(small_detector: Detector) -> None:
    lines = rows_table(inspect_rows(small_detector, (64, 64))).splitlines()
    assert len(lines) == 3 + 10
    assert "Concat" in lines[10]
    assert "6+2" in lines[10]
    assert lines[-1].rstrip().endswith("100.0%")
