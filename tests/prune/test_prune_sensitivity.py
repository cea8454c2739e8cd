"""Sensitivity: points by hand, what is left as it was, going on after a stop, cliffs, curves."""

import copy
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.table import ChannelTable
from prunus.model.channels.trace import trace
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.prune.blocks.damage import relative_squared_difference
from prunus.prune.sensitivity.curves import cliff_table, cliffs, damage_curves, is_filled
from prunus.prune.sensitivity.likeness import Likeness
from prunus.prune.sensitivity.plot import plot
from prunus.prune.sensitivity.points import Point, masked, measure, planned
from prunus.prune.sensitivity.record import (
    RECORD,
    Header,
    Record,
    append,
    begin,
    curves_of,
    mend,
    read_record,
    read_sensitivity,
)
from prunus.prune.surgery import remove

GRID = (0.25, 0.5, 0.75)


def chain() -> nn.Sequential:
    """Two groups: `0` of eight channels, `2` of four; channel i of `0` adds i to the output."""
    network = nn.Sequential(
        nn.Conv2d(1, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1)
    )
    with torch.no_grad():
        for conv in (network[0], network[2], network[4]):
            conv.weight.fill_(1)
            conv.bias.zero_()
        network[2].weight *= torch.arange(8.0).view(1, 8, 1, 1)
    return network.eval()


ONE = torch.ones(1, 1, 1, 1)
ORDER = {"0": torch.arange(8), "2": torch.tensor([3, 2, 1, 0])}


def output(network: nn.Module) -> float:
    """The dense chain says 4 * (0 + 1 + ... + 7) = 112."""
    with torch.no_grad():
        return float(network(ONE))


def points_of(network: nn.Module, **changes: Any) -> list[Point]:
    words: dict[str, Any] = {"ratios": GRID, "worthless": 0.0, **changes}
    judge = words.pop("judge", output)
    return list(measure(network, trace(network, ONE), ORDER, judge, **words))


def header(**changes: Any) -> Header:
    order = {name: channels.tolist() for name, channels in ORDER.items()}
    return replace(
        Header("a" * 64, {"quick": True, "ratios": list(GRID)}, "x", 112.0, order), **changes
    )


def test_points_are_what_the_first_channels_of_the_order_added() -> None:
    found = {point.key: point.score for point in points_of(chain())}
    assert found == {
        ("0", 2): 4 * (28 - 0 - 1),
        ("0", 4): 4 * (28 - 0 - 1 - 2 - 3),
        ("0", 6): 4 * (6 + 7),
        ("2", 1): 3 * 28,
        ("2", 2): 2 * 28,
        ("2", 3): 28,
    }


def test_small_ratios_of_all_groups_come_first() -> None:
    assert [point.key for point in points_of(chain())] == [
        *(("0", 2), ("2", 1)),
        *(("0", 4), ("2", 2)),
        *(("0", 6), ("2", 3)),
    ]


def test_at_least_one_channel_goes_and_one_stays_and_no_point_comes_twice() -> None:
    order = {"a": torch.arange(2), "b": torch.arange(1), "c": torch.arange(16)}
    assert planned(order, (0.9, 0.01, 0.02)) == [("a", 1), ("c", 1), ("c", 14)]


def test_the_network_is_left_as_it_was_even_when_the_judge_fails() -> None:
    network = chain()
    before = copy.deepcopy(network.state_dict())
    points_of(network)

    def fails(_: nn.Module) -> float:
        raise KeyboardInterrupt("enough")

    with pytest.raises(KeyboardInterrupt, match="enough"):
        points_of(network, judge=fails)
    assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())


def test_a_masked_group_computes_what_the_network_without_it_does(nano: Detector) -> None:
    nano.eval()
    image = torch.rand(1, 3, 64, 64)
    network = fuse(nano)
    table: ChannelTable = trace(network, image)
    assert [g.name for g in table.free_groups] == [g.name for g in trace(nano, image).free_groups]
    group = max(table.free_groups, key=lambda group: len(group.slots))
    tags = group.tags[: len(group) // 2]
    with torch.no_grad():
        expected = remove(network, table, tags)(image)
        whole = network(image)
        with masked(network, table, group, tags):
            found = network(image)
        again = network(image)
    for mask, cut in zip(found, expected, strict=True):
        torch.testing.assert_close(mask, cut, rtol=1e-4, atol=1e-5)
    assert not torch.equal(found[0], whole[0])
    assert all(a.equal(b) for a, b in zip(again, whole, strict=True))


def test_what_is_known_is_not_measured_again() -> None:
    asked = []

    def judge(network: nn.Module) -> float:
        asked.append(output(network))
        return asked[-1]

    everything = points_of(chain())
    missing = points_of(chain(), judge=judge, known=everything[:4])
    assert missing == everything[4:]
    assert asked == [point.score for point in everything[4:]]


def test_higher_ratios_are_filled_in_once_the_floor_is_reached_also_after_a_stop() -> None:
    everything = points_of(chain(), worthless=56.0)
    assert [point.key for point in everything if point.filled] == [("2", 3)]
    assert everything[-1].score == 56
    assert points_of(chain(), worthless=56.0, known=everything[:4]) == everything[4:]


def test_outputs_that_are_not_finite_are_worth_nothing() -> None:
    found = points_of(chain(), judge=lambda _: float("nan"))
    assert {point.score for point in found} == {0.0}
    assert sum(point.filled for point in found) == 4


def test_an_order_that_does_not_fit_is_refused() -> None:
    network = chain()
    table = trace(network, ONE)
    wrong: list[tuple[dict[str, Tensor], str]] = [
        ({"9": torch.arange(8)}, "9: no group of this network"),
        ({"0": torch.arange(7)}, "0: its order must name each of its 8 channels once"),
        ({}, "no group of two or more channels"),
    ]
    for order, words in wrong:
        with pytest.raises(PruningError, match=words):
            list(measure(network, table, order, output, ratios=GRID, worthless=0))


def test_likeness_is_one_minus_the_error_that_blocks_are_judged_by() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.SiLU(), nn.Conv2d(4, 2, 1)).eval()
    images = [torch.rand(3, 1, 2, 2), torch.rand(1, 1, 2, 2)]
    judge = Likeness(network, images)
    assert judge(network) == 1
    with torch.no_grad():
        whole = [network(batch) for batch in images]
        network[0].weight[0] = 0
        errors = [
            relative_squared_difference(network(batch), outputs)
            for batch, outputs in zip(images, whole, strict=True)
        ]
    assert judge(network) == pytest.approx(1 - (3 * errors[0] + errors[1]) / 4)
    assert errors[0] != pytest.approx(errors[1])
    assert errors[0] > 0


def test_likeness_needs_images() -> None:
    with pytest.raises(PruningError, match="there are no images"):
        Likeness(chain(), [])


def record_of(tmp_path: Path, **changes: Any) -> Record:
    path = tmp_path / RECORD
    begin(path, header(**changes))
    for point in points_of(chain()):
        append(path, point)
    return read_record(path)


def test_a_file_holds_what_was_put_in(tmp_path: Path) -> None:
    record = record_of(tmp_path)
    assert record.header == header()
    assert list(record.points.values()) == points_of(chain())
    assert all(record.order[name].equal(channels) for name, channels in ORDER.items())
    first = json.loads((tmp_path / RECORD).read_text().splitlines()[1])
    assert first["ratio"] == 0.25


def test_a_line_that_was_cut_off_is_left_out_and_mended(tmp_path: Path) -> None:
    path = tmp_path / RECORD
    whole = record_of(tmp_path)
    path.write_bytes(path.read_bytes()[:-5])
    assert len(read_record(path).points) == len(whole.points) - 1
    mend(path)
    append(path, list(whole.points.values())[-1])
    assert read_record(path) == whole


def test_other_weights_and_settings_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / RECORD
    known = header()
    known.check("a" * 64, dict(known.settings), path)
    with pytest.raises(PruningError, match=r"sensitivity\.jsonl: holds points of other weights"):
        known.check("b" * 64, dict(known.settings), path)
    with pytest.raises(PruningError, match=r"with quick True, not False; ratios 0\.25 0\.5 0\.75"):
        known.check("a" * 64, {"quick": False, "ratios": [0.5]}, path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "damaged, or not written by"),
        ("[]\n", "damaged, or not written by"),
        ('{"format_version": 1}\n', "damaged, or not written by"),
        ('{"format_version": 9}\n', "has format 9, this Prunus reads 1"),
        ("not json\n", "damaged, or not written by"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / RECORD
    path.write_text(content)
    with pytest.raises(PruningError, match=words):
        read_record(path)


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PruningError, match="cannot be read: No such file"):
        read_sensitivity(tmp_path / RECORD)


def test_curves_go_from_nothing_to_all(tmp_path: Path) -> None:
    record_of(tmp_path)
    curves = read_sensitivity(tmp_path / RECORD)
    assert curves == {
        "0": [(0, 0), (0.25, 4), (0.5, 24), (0.75, 60), (1, 112)],
        "2": [(0, 0), (0.25, 28), (0.5, 56), (0.75, 84), (1, 112)],
    }


def test_the_cliff_by_hand(tmp_path: Path) -> None:
    worst, best = cliffs(record_of(tmp_path), max_drop=28 / 112 / 2)
    assert (worst.group, best.group) == ("2", "0")
    assert worst.safe == pytest.approx(0.125)
    assert best.safe == pytest.approx(0.25 + 0.25 * (14 - 4) / (24 - 4))
    assert best.steepest == (0.5, 0.75)
    assert best.drops == pytest.approx((4 / 112, 24 / 112, 60 / 112))


def test_what_is_never_exceeded_is_safe_to_the_last_measured_ratio(tmp_path: Path) -> None:
    assert [cliff.safe for cliff in cliffs(record_of(tmp_path), max_drop=0.9)] == [0.75, 0.75]


def test_a_dip_beyond_the_cliff_does_not_make_it_safe(tmp_path: Path) -> None:
    record = record_of(tmp_path)
    dip = replace(record.points["2", 3], score=112.0)
    record = replace(record, points={**record.points, dip.key: dip})
    (cliff,) = [cliff for cliff in cliffs(record, max_drop=0.3) if cliff.group == "2"]
    assert cliff.safe == pytest.approx(0.3)
    assert cliff.drops[-1] == 0, "shown as it was measured"


def test_a_damage_curve_by_hand(tmp_path: Path) -> None:
    record = record_of(tmp_path)
    lost = damage_curves(curves_of(record), {"0": 8, "2": 4})
    assert lost["0"].tolist() == [0, 2, 4, 14, 24, 42, 60, 86, 112]
    assert lost["2"].tolist() == [0, 28, 56, 84, 112]
    assert lost["0"].dtype == torch.float64


@given(
    drops=st.lists(st.floats(-1, 3, allow_nan=False), min_size=1, max_size=7),
    channels=st.integers(2, 40),
)
def test_a_damage_curve_starts_at_nothing_never_falls_and_misses_no_drop(
    drops: list[float], channels: int
) -> None:
    ratios = [(place + 1) / 8 for place in range(len(drops))]
    curve = [(0.0, 0.0), *zip(ratios, drops, strict=True), (1.0, max(1.0, drops[-1]))]
    lost = damage_curves({"g": curve}, {"g": channels})["g"].tolist()
    assert len(lost) == channels + 1
    assert lost[0] == 0
    assert all(a <= b for a, b in itertools.pairwise(lost))
    for ratio, drop in curve:
        assert lost[-(-int(ratio * 8) * channels // 8)] >= drop - 1e-12


def test_table_and_picture_mark_what_was_not_measured(tmp_path: Path) -> None:
    points = points_of(chain(), worthless=56.0)
    found = cliffs(Record(header(), {point.key: point for point in points}), 0.03)
    by_name = {cliff.group: cliff for cliff in found}
    assert [is_filled(by_name["2"], ratio) for ratio in GRID] == [False, False, True]
    assert not is_filled(by_name["0"], 0.75)
    lines = cliff_table(found, 0.03, "share lost").splitlines()
    assert lines[0].startswith("share lost")
    assert lines[-2].split() == ["2", "4", "25.0%", "50.0%", "-", "3%", "0.0%", "to", "25.0%"]
    assert lines[-1].split()[:5] == ["0", "8", "3.6%", "21.4%", "53.6%"]
    plot(tmp_path / "x.png", found, 0.03, "share lost")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
