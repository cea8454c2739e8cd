"""Which channels go for a share of the channels: --percent."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from prunus.core.errors import PruningError
from prunus.model.channels.table import ChannelGroup, ChannelTable, Slot
from prunus.prune.damage import Damage, from_scores
from prunus.prune.selection import Budget, Rounding, Scope, Selection
from prunus.prune.selection import select as select_by_damage
from prunus.prune.widths import choice, nearest


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


def select(
    scores: Mapping[str, Tensor],
    table: ChannelTable,
    *,
    percent: float,
    round_to: int = 8,
    min_channels: int = 8,
    **others: Any,
) -> Selection:
    return select_by_damage(
        {name: from_scores(score) for name, score in scores.items()},
        table,
        budget=Budget("percent", percent),
        rounding=Rounding(round_to, min_channels),
        **others,
    )


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
    assert nearest(Rounding(8, 8).widths(size), wanted) == kept


def test_the_least_width_is_a_multiple_too() -> None:
    assert Rounding(8, 20).widths(64) == (24, 32, 40, 48, 56, 64)
    assert Rounding(16, 8).widths(60) == (16, 32, 48, 60)
    assert Rounding(1, 3).widths(5) == (3, 4, 5)
    assert Rounding(8, 8).widths(6) == (6,)
    assert Rounding(1, 0).widths(2) == (1, 2), "no layer is emptied"


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
    sizes: list[int], percent: float, round_to: int, least: int, scope: Scope, seed: int
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


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    percent=st.floats(0.05, 0.95),
    round_to=st.sampled_from([1, 4, 8]),
    seed=st.integers(0, 1000),
)
def test_globally_no_threshold_comes_nearer(
    sizes: list[int], percent: float, round_to: int, seed: int
) -> None:
    """Agrees with trying every threshold on the scores themselves."""
    table = table_of(sizes)
    scores = random_scores(table, seed)
    every = torch.cat(list(scores.values())).sort().values
    rounding = Rounding(round_to, 8)

    def achieved(threshold: float) -> float:
        left = (int((score > threshold).sum()) for score in scores.values())
        kept = (nearest(rounding.widths(n), left) for n, left in zip(sizes, left, strict=True))
        return 1 - sum(kept) / sum(sizes)

    best = min(abs(achieved(threshold) - percent) for threshold in [-1.0, *every.tolist()])
    chosen = select(scores, table, percent=percent, round_to=round_to)
    assert abs(chosen.achieved - percent) == pytest.approx(best)


def test_what_goes_first_takes_along_what_is_cheap_after_it() -> None:
    """Two of g0 cost 2 each, though the first costs 3; one of each group would cost 5.5."""
    table = table_of([3, 3])
    damage = {
        "g0": Damage(torch.arange(3), torch.tensor([0.0, 3, 4, 100])),
        "g1": Damage(torch.arange(3), torch.tensor([0.0, 2.5, 100, 200])),
    }
    fine = Rounding(1, 1)
    chosen = select_by_damage(damage, table, budget=Budget("percent", 1 / 3), rounding=fine)
    assert after(chosen) == {"g0": 1, "g1": 3, "head": 5}


def test_the_order_of_the_damage_decides_who_goes() -> None:
    damage = {"g0": Damage(torch.tensor([2, 0, 3, 1]), torch.arange(5.0))}
    fine = Rounding(1, 1)
    chosen = select_by_damage(damage, table_of([4]), budget=Budget("percent", 0.5), rounding=fine)
    assert chosen.tags.tolist() == [2, 0]


def test_scores_add_up_from_the_lowest() -> None:
    damage = from_scores(torch.tensor([3.0, -1.0, 0.5]))
    assert damage.order.tolist() == [1, 2, 0]
    assert damage.lost.tolist() == [0, 0, 0.5, 3.5]


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_no_layer_loses_more_than_its_most(scope: Scope) -> None:
    table = table_of([40, 40])
    scores = random_scores(table)
    scores["g0"] = torch.zeros(40)
    chosen = select(scores, table, percent=0.5, scope=scope, max_layer_percent=0.3)
    assert after(chosen) == {"g0": 32, "g1": 32, "head": 5}, "28 may stay, 32 is its multiple of 8"
    assert "wanted, but at most 30% of a layer may go" in chosen.widths[0].reason
    assert chosen.shortfall == (
        "50.0% of the channels asked, 20.0% of the channels reached: every layer is kept or as "
        "narrow as it may be"
    )


def test_seven_of_ten_may_stay() -> None:
    (group, _) = table_of([10]).groups
    narrowest = choice(group, from_scores(torch.ones(10)), Rounding(1, 1), max_share=0.3).allowed[0]
    assert narrowest == 7


@pytest.mark.parametrize("most", [0.0, 1.0, -0.5, 30.0])
def test_a_most_that_is_no_share_is_refused(most: float) -> None:
    table = table_of([16])
    with pytest.raises(PruningError, match="max_layer_percent: must lie between 0 and 1, got "):
        select(random_scores(table), table, percent=0.5, max_layer_percent=most)


def test_only_widths_that_are_handed_in_are_chosen() -> None:
    table = table_of([64, 64, 64])
    allowed = {"g0": (16, 48), "g1": (4, 61)}
    chosen = select(
        random_scores(table), table, percent=0.5, scope="layer", widths=allowed, round_to=1
    )
    assert after(chosen) == {"g0": 48, "g1": 61, "g2": 32, "head": 5}, "4 is below the floor"
    assert chosen.widths[1].reason == "32 wanted, but no width below 61 is allowed"


def test_parameters_of_no_group_are_listed() -> None:
    table = ChannelTable({}, {}, {}, table_of([16]).groups, {}, {}, {"scale": "of fixed length"})
    chosen = select(random_scores(table), table, percent=0.5)
    assert chosen.apart == {"scale": "of fixed length"}
    assert chosen.predicted is None and chosen.budget == Budget("percent", 0.5)
