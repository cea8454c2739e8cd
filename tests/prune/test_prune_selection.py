from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from prunus.core.errors import PruningError
from prunus.model.channels.table import ChannelGroup, ChannelTable, Slot
from prunus.prune.selection import Rounding, Selection, select


def table_of(sizes: Sequence[int], members: Sequence[int] | None = None) -> ChannelTable:
    """Return groups g0, g1 … of these sizes, made by so many layers each, and a frozen output."""
    groups, start = [], 0
    for number, size in enumerate(sizes):
        count = members[number] if members else 1
        slots = tuple(
            Slot(f"model.{number}.cv{layer}.weight", 0, "filter", torch.arange(size))
            for layer in range(count)
        )
        groups.append(ChannelGroup(f"g{number}", torch.arange(start, start + size), slots))
        start += size
    output = Slot("head.weight", 0, "filter", torch.arange(5))
    groups.append(ChannelGroup("head", torch.arange(start, start + 5), (output,), "an output"))
    return ChannelTable({}, {}, {}, tuple(groups), {})


def random_scores(table: ChannelTable, seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {group.name: torch.rand(len(group), generator=random) for group in table.free_groups}


def after(selection: Selection) -> dict[str, int]:
    return {width.name: width.after for width in selection.widths}


@pytest.mark.parametrize(
    ("size", "wanted", "kept"),
    [
        (64, 30.0, 32),
        (64, 28.0, 32),  # as near to 24: the larger one
        (64, 27.9, 24),
        (64, 3.0, 8),
        (64, 0.0, 8),
        (64, 64.0, 64),
        (20, 19.0, 20),  # all of them, though no multiple
        (20, 17.0, 16),
        (6, 1.0, 6),
    ],
)
def test_widths_are_rounded_to_the_nearest_multiple_and_never_to_zero(
    size: int, wanted: float, kept: int
) -> None:
    assert Rounding(8, 8).kept(size, wanted) == kept


def test_the_least_width_is_a_multiple_too() -> None:
    assert Rounding(8, 20).kept(64, 1.0) == 24
    assert Rounding(16, 8).kept(64, 1.0) == 16
    assert Rounding(1, 3).kept(64, 1.0) == 3


def test_the_lowest_scores_go() -> None:
    table = table_of([4, 4])
    scores = {"g0": torch.tensor([5.0, 1, 6, 7]), "g1": torch.tensor([2.0, 8, 9, 3])}
    chosen = select(scores, table, percent=0.375, round_to=1, min_channels=1)
    assert chosen.tags.tolist() == [1, 4, 7]
    assert chosen.achieved == chosen.asked == 0.375
    assert after(chosen) == {"g0": 3, "g1": 2, "head": 5}
    assert chosen.clamped == chosen.widths[2:], "the output, with its reason"


def test_per_layer_every_layer_loses_its_share_whatever_the_others_score() -> None:
    table = table_of([16, 32])
    scores = random_scores(table)
    before = select(scores, table, percent=0.5, scope="layer", round_to=1, min_channels=1)
    scores["g1"] *= 1000
    again = select(scores, table, percent=0.5, scope="layer", round_to=1, min_channels=1)
    assert after(before) == {"g0": 8, "g1": 16, "head": 5}
    assert again.tags.equal(before.tags)


def test_globally_the_layer_of_low_scores_loses_most_but_is_never_emptied() -> None:
    table = table_of([32, 32])
    scores = random_scores(table)
    scores["g0"] = torch.zeros(32)
    chosen = select(scores, table, percent=0.5)
    assert after(chosen) == {"g0": 8, "g1": 24, "head": 5}
    assert chosen.achieved == 0.5, "what the floor keeps is taken elsewhere"
    (clamped, _) = chosen.clamped
    assert clamped.name == "g0"
    assert "wanted, but no layer keeps fewer than 8" in clamped.reason


def test_tied_layers_count_as_many_channels_as_they_make() -> None:
    table = table_of([16, 16], members=[3, 1])
    scores = {"g0": torch.zeros(16), "g1": torch.ones(16)}
    chosen = select(scores, table, percent=0.375, round_to=1, min_channels=1)
    assert after(chosen) == {"g0": 8, "g1": 16, "head": 5}, "8 x 3 of 64"


def test_kept_rows_lose_nothing_and_do_not_count() -> None:
    table = table_of([16, 16, 16])
    scores = random_scores(table)
    del scores["g1"]
    chosen = select(scores, table, percent=0.5, keep=["model.1"])
    assert after(chosen) == {"g0": 8, "g1": 16, "g2": 8, "head": 5}
    assert next(width.reason for width in chosen.widths if width.name == "g1") == "kept"


def test_a_kept_path_is_no_prefix_of_a_name() -> None:
    table = table_of([16] * 11)
    chosen = select(random_scores(table), table, percent=0.5, scope="layer", keep=["model.1"])
    assert [name for name, width in after(chosen).items() if width == 16] == ["g1"]


def test_more_than_the_floors_allow_is_reported_not_refused() -> None:
    table = table_of([16, 16])
    chosen = select(random_scores(table), table, percent=0.9)
    assert after(chosen) == {"g0": 8, "g1": 8, "head": 5}
    assert chosen.achieved == 0.5 and len(chosen.clamped) == 3


def test_less_than_the_rounding_allows_removes_nothing() -> None:
    table = table_of([64, 64])
    chosen = select(random_scores(table), table, percent=0.01)
    assert len(chosen.tags) == 0 and chosen.achieved == 0


@pytest.mark.parametrize("percent", [0.0, 1.0, -0.1, 50.0])
def test_a_percentage_that_is_no_share_is_refused(percent: float) -> None:
    table = table_of([16])
    with pytest.raises(PruningError, match="percent: must lie between 0 and 1, got "):
        select(random_scores(table), table, percent=percent)


def test_nothing_to_choose_from_is_said() -> None:
    with pytest.raises(PruningError, match="no channel may be removed: every layer is an output"):
        select({}, table_of([]), percent=0.5)


@given(
    sizes=st.lists(st.integers(1, 130), min_size=1, max_size=12),
    percent=st.floats(0.05, 0.95),
    round_to=st.sampled_from([1, 4, 8, 16]),
    least=st.integers(1, 20),
    scope=st.sampled_from(["global", "layer"]),
    seed=st.integers(0, 1000),
)
def test_any_selection_leaves_allowed_widths_and_the_highest_scores(
    sizes: list[int], percent: float, round_to: int, least: int, scope: str, seed: int
) -> None:
    table = table_of(sizes)
    scores = random_scores(table, seed)
    chosen = select(
        scores, table, percent=percent, scope=scope, round_to=round_to, min_channels=least
    )  # fmt: skip
    removed = set(chosen.tags.tolist())
    assert len(removed) == len(chosen.tags)
    for group, width in zip(table.free_groups, chosen.widths, strict=False):
        gone = torch.tensor([tag in removed for tag in group.tags.tolist()])
        assert width.after == int((~gone).sum()) >= min(len(group), least) >= 1
        assert width.after % round_to == 0 or width.after == len(group)
        if gone.any():
            assert scores[group.name][gone].max() <= scores[group.name][~gone].min()
    assert chosen.achieved == pytest.approx(len(removed) / sum(sizes))


@given(percent=st.floats(0.1, 0.8), seed=st.integers(0, 1000))
def test_globally_the_achieved_share_is_as_near_as_one_step_of_rounding(
    percent: float, seed: int
) -> None:
    table = table_of([64, 128, 96, 256, 32])
    chosen = select(random_scores(table, seed), table, percent=percent)
    assert abs(chosen.achieved - percent) <= 8 / 576 / 2 + 1e-9
