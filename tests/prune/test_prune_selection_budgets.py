"""Which channels go for a budget of parameters, operations or milliseconds."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, product

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prunus.core.errors import PruningError
from prunus.model.channels.table import ChannelGroup, ChannelTable, Slot
from prunus.model.channels.trace import trace
from prunus.model.cost import count_flops, count_parameters
from prunus.model.detector import Detector
from prunus.model.layers import LayerShape, SizedLayer, sized_layers
from prunus.prune.costs import Costs, Price, flops_price, params_costs
from prunus.prune.damage import Damage, from_scores
from prunus.prune.selection import Budget, Rounding, Scope, Selection, select
from prunus.prune.surgery import remove

FINE = Rounding(1, 1)
SHAPE = LayerShape("conv", (1, 1), (1, 1), (0, 0), (1, 1), 1, (1, 1), "")


def chain(sizes: Sequence[int]) -> tuple[ChannelTable, dict[str, SizedLayer]]:
    """Return 3 -> g0 -> g1 … -> 5: layer i makes g_i, the head the outputs."""
    ends = [3, *sizes, 5]
    layers = {f"{i}.weight": (SHAPE, *pair) for i, pair in enumerate(pairwise(ends))}
    groups, tags, start = [], {}, 0
    for number, size in enumerate(sizes):
        own = torch.arange(start, start + size)
        made, read = (f"{number}.weight", 0), (f"{number + 1}.weight", 1)
        slots = Slot(*made, "filter", torch.arange(size)), Slot(*read, "column", torch.arange(size))
        tags[made] = tags[read] = own
        groups.append(ChannelGroup(f"g{number}", own, slots))
        start += size
    return ChannelTable(tags, {}, {}, tuple(groups), {}), layers


def product_of(_: str, inputs: int, outputs: int) -> float:
    return float(inputs * outputs)


def in_steps(step: int, floor: float = 0.0) -> Price:
    """Return a price of widths rounded up to a multiple, and something for the call itself."""

    def price(_: str, inputs: int, outputs: int) -> float:
        return floor + math.ceil(inputs / step) * math.ceil(outputs / step)

    return price


def random_damage(table: ChannelTable, seed: int) -> dict[str, Damage]:
    random = torch.Generator().manual_seed(seed)
    return {
        group.name: from_scores(
            torch.rand(len(group), generator=random) ** 2
            * (0.2 + 3 * torch.rand(1, generator=random))
        )
        for group in table.free_groups
    }


def after(selection: Selection) -> dict[str, int]:
    return {width.name: width.after for width in selection.widths}


def lost(damage: Mapping[str, Damage], selection: Selection) -> float:
    return sum(
        float(damage[width.name].lost[width.before - width.after])
        for width in selection.widths
        if width.name in damage
    )


def test_the_cheaper_channel_goes_by_hand() -> None:
    """3 x a + a x b + b x 5 with a = b = 4: the first of g0 saves 7, the first of g1 saves 9."""
    table, layers = chain([4, 4])
    damage = {"g0": from_scores(torch.full((4,), 1.0)), "g1": from_scores(torch.full((4,), 1.0))}
    costs = Costs(layers, table, product_of)
    chosen = select(damage, table, budget=Budget("flops", 0.82), costs=costs, rounding=FINE)
    assert after(chosen) == {"g0": 4, "g1": 3}
    assert chosen.predicted == (48, 39) and chosen.achieved == 39 / 48 and chosen.asked == 0.82
    assert chosen.shortfall == "" and chosen.clamped == ()
    chosen = select(
        {"g0": from_scores(torch.full((4,), 0.7)), "g1": damage["g1"]},
        table, budget=Budget("params", 0.86), costs=costs, rounding=FINE,
    )  # fmt: skip
    assert after(chosen) == {"g0": 3, "g1": 4}, "0.1 for each operation, not 0.11"


def test_flat_stretches_of_the_cost_are_jumped_over_and_kept_whole() -> None:
    """Between two multiples of 16 a channel saves nothing: 48 or 64, never 49 to 63."""
    table, layers = chain([64, 64])
    damage = random_damage(table, 0)
    costs = Costs(layers, table, in_steps(16))
    chosen = select(damage, table, budget=Budget("latency", 20.0), costs=costs, rounding=FINE)
    assert chosen.predicted is not None and chosen.predicted[1] == chosen.achieved <= 20
    assert all(width.after % 16 == 0 for width in chosen.widths)
    assert any(width.after < 64 for width in chosen.widths)


def test_a_first_step_that_costs_more_is_jumped_over() -> None:
    """61 channels cost more than 64, as on AVX-512: what saves lies further down."""

    def odd(_: str, inputs: int, outputs: int) -> float:
        ragged = outputs % 16 > 5 or (inputs > 16 and inputs % 16 > 0)
        return inputs * outputs * (1.5 if ragged else 1.0)

    table, layers = chain([64])
    costs = Costs(layers, table, odd)
    damage = {"g0": from_scores(torch.ones(64))}
    chosen = select(damage, table, budget=Budget("latency", 500.0), costs=costs, rounding=FINE)
    assert after(chosen) == {"g0": 48}


def test_channels_without_worth_that_save_nothing_stay() -> None:
    table, layers = chain([16, 16])
    damage = {"g0": from_scores(torch.zeros(16)), "g1": from_scores(torch.ones(16))}
    costs = Costs(
        layers, table, lambda key, i, o: float(i * o) if key == "2.weight" else 10.0
    )  # only the last layer's price moves, and g0 is none of its inputs
    chosen = select(damage, table, budget=Budget("latency", 60.0), costs=costs, rounding=FINE)
    assert after(chosen) == {"g0": 16, "g1": 8}


def test_what_the_last_jump_took_too_much_is_given_back() -> None:
    """g0 goes in one jump of 16; then g1, gone first, fits in again."""
    table, layers = chain([16, 16])
    costs = Costs(
        layers, table, lambda key, i, o: float({"0.weight": o, "2.weight": i}.get(key, 0))
    )
    damage = {"g0": from_scores(torch.full((16,), 1.0)), "g1": from_scores(torch.full((16,), 0.9))}
    chosen = select(
        damage, table, budget=Budget("latency", 18.0), costs=costs,
        rounding=FINE, widths={"g0": (2,), "g1": (4, 8, 12)},
    )  # fmt: skip
    assert after(chosen) == {"g0": 2, "g1": 16}, "14 x 1.0; first 12 x 0.9, which was not enough"


def test_steps_that_save_only_together_are_found() -> None:
    """Two groups joined before one reader: 24 and 16 channels cost 32, both at 8 cost 16."""
    table, _ = chain([16, 16])
    first, second = table.groups
    read = Slot("2.weight", 1, "column", torch.cat((torch.arange(16), torch.full((16,), -1))))
    other = Slot("2.weight", 1, "column", torch.cat((torch.full((16,), -1), torch.arange(16))))
    groups = (
        ChannelGroup("g0", first.tags, (first.slots[0], read)),
        ChannelGroup("g1", second.tags, (second.slots[0], other)),
    )
    tags = {**table.tags, ("2.weight", 1): torch.arange(32)}
    joined = ChannelTable(tags, {}, {}, groups, {})
    costs = Costs(
        {"2.weight": (SHAPE, 32, 5)}, joined, lambda _, inputs, __: float(math.ceil(inputs / 16))
    )
    damage = random_damage(joined, 0)
    chosen = select(damage, joined, budget=Budget("latency", 1.0), costs=costs)
    assert after(chosen) == {"g0": 8, "g1": 8}
    chosen = select(
        damage, joined, budget=Budget("latency", 0.5), costs=costs, rounding=Rounding(4, 4)
    )
    assert chosen.shortfall and chosen.achieved == 1
    assert sum(after(chosen).values()) == 16, "out of reach; yet nothing goes that saves nothing"


def best_of_all(
    table: ChannelTable, damage: Mapping[str, Damage], costs: Costs, limit: float, step: int
) -> float:
    """Return the least loss of any widths within the limit."""
    groups = table.free_groups
    allowed = [Rounding(step, step).widths(len(group)) for group in groups]
    least = math.inf
    for widths in product(*allowed):
        kept = {group.name: width for group, width in zip(groups, widths, strict=True)}
        loss = sum(
            float(damage[group.name].lost[len(group) - kept[group.name]]) for group in groups
        )
        if loss < least and costs.total(kept) <= limit:
            least = loss
    return least


@given(
    sizes=st.lists(st.integers(8, 40), min_size=2, max_size=3),
    share=st.floats(0.3, 0.9),
    price=st.sampled_from([product_of, in_steps(16), in_steps(12, 0.5)]),
    seed=st.integers(0, 1000),
)
@example(sizes=[18, 8, 34], share=0.3046875, price=product_of, seed=248)  # two groups at once
@settings(max_examples=60, deadline=None)
def test_what_is_retained_is_nearly_the_most_that_can_be(
    sizes: list[int], share: float, price: Price, seed: int
) -> None:
    table, layers = chain(sizes)
    damage, costs = random_damage(table, seed), Costs(layers, table, price)
    limit = share * costs.total({})
    best = best_of_all(table, damage, costs, limit, 4)
    chosen = select(
        damage, table, budget=Budget("latency", limit), costs=costs, rounding=Rounding(4, 4)
    )
    if math.isinf(best):
        assert chosen.shortfall
        return
    assert chosen.achieved <= limit and not chosen.shortfall
    whole = sum(float(each.lost[-1]) for each in damage.values())
    assert lost(damage, chosen) - best <= 0.02 * whole


@given(share=st.floats(0.2, 0.95), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_a_smooth_budget_is_met_within_one_step(share: float, seed: int) -> None:
    table, layers = chain([64, 96, 40, 128])
    damage, costs = random_damage(table, seed), Costs(layers, table, product_of)
    chosen = select(damage, table, budget=Budget("flops", share), costs=costs, rounding=FINE)
    kept = after(chosen)
    assert chosen.achieved <= share
    wider = [
        costs.total({**kept, group.name: kept[group.name] + 1})
        for group in table.free_groups
        if kept[group.name] < len(group)
    ]
    assert min(wider) > share * costs.total({}), "not one more channel fits"


@given(share=st.floats(0.1, 0.95), step=st.sampled_from([1, 8]), seed=st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_per_layer_one_share_for_all(share: float, step: int, seed: int) -> None:
    table, layers = chain([64, 128, 256])
    costs = Costs(layers, table, product_of)
    chosen = select(
        random_damage(table, seed), table, budget=Budget("params", share), scope="layer",
        costs=costs, rounding=Rounding(step, step),
    )  # fmt: skip
    shares = [width.after / width.before for width in chosen.widths]
    assert max(shares) - min(shares) <= step / 64 + 1e-9
    assert chosen.achieved <= share or chosen.shortfall
    more = {width.name: min(width.before, width.after + step) for width in chosen.widths}
    assert costs.total(more) > share * costs.total({})


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_budget_out_of_reach_is_reported_not_refused(scope: Scope) -> None:
    table, layers = chain([16, 16])
    costs = Costs(layers, table, product_of)
    chosen = select(
        random_damage(table, 0), table, budget=Budget("flops", 0.1), scope=scope, costs=costs
    )
    assert after(chosen) == {"g0": 8, "g1": 8}
    assert chosen.achieved == 128 / 384
    assert chosen.shortfall == (
        "10.0% of the FLOPs asked, 33.3% of the FLOPs reached: every layer is kept or as narrow "
        "as it may be"
    )
    assert [width.reason for width in chosen.clamped] == [
        "as narrow as it may be: no layer keeps fewer than 8"
    ] * 2


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_limits_of_a_layer_hold(scope: Scope) -> None:
    table, layers = chain([64, 64, 64])
    costs = Costs(layers, table, product_of)
    chosen = select(
        random_damage(table, 1), table, budget=Budget("flops", 0.3), scope=scope, costs=costs,
        max_layer_percent=0.5, keep=["1"], widths={"g2": (40, 52)},
    )  # fmt: skip
    assert after(chosen) == {"g0": 32, "g1": 64, "g2": 40}
    assert [width.reason for width in chosen.widths] == [
        "as narrow as it may be: at most 50% of a layer may go",
        "kept",
        "as narrow as it may be: no width below 40 is allowed",
    ]
    assert "30.0% of the FLOPs asked" in chosen.shortfall


def test_percent_says_what_the_network_will_cost_too() -> None:
    table, layers = chain([16, 16])
    costs = Costs(layers, table, product_of)
    chosen = select(
        random_damage(table, 0), table, budget=Budget("percent", 0.5), scope="layer", costs=costs
    )
    assert chosen.predicted == (384, 128)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Budget("flops", 1.0), r"flops: must lie between 0 and 1, got 1\. 0\.5 keeps half"),
        (lambda: Budget("params", 0.0), r"params: must lie between 0 and 1, got 0\."),
        (
            lambda: Budget("percent", 50),
            r"percent: must lie between 0 and 1, got 50\. 0\.5 removes",
        ),
        (lambda: Budget("latency", 0.0), r"latency: must be above 0 ms, got 0\."),
        (lambda: Budget("latency", math.inf), r"latency: must be above 0 ms, got inf\."),
        (lambda: Budget("flops", math.nan), r"flops: must lie between 0 and 1, got nan\."),
    ],
)
def test_a_goal_that_makes_no_sense_is_refused(make: Callable[[], Budget], message: str) -> None:
    with pytest.raises(PruningError, match=message):
        make()


def test_a_latency_that_the_whole_network_keeps_is_refused() -> None:
    table, layers = chain([16, 16])
    costs = Costs(layers, table, product_of)
    with pytest.raises(PruningError, match="the whole network takes 384 ms, which is within 400"):
        select(random_damage(table, 0), table, budget=Budget("latency", 400.0), costs=costs)


def test_a_budget_of_costs_needs_costs() -> None:
    table, _ = chain([16])
    with pytest.raises(ValueError, match="a budget of flops needs costs"):
        select(random_damage(table, 0), table, budget=Budget("flops", 0.5))


@pytest.mark.parametrize("kind", ["params", "flops"])
def test_a_detector_has_what_was_predicted(nano: Detector, kind: str) -> None:
    table = trace(nano, torch.rand(1, 3, 64, 64))
    layers = sized_layers(nano, torch.zeros(1, 3, 640, 640))
    by_flops = Costs(layers, table, flops_price(layers))
    costs, count, budget = (
        (by_flops, count_flops, Budget("flops", 0.7))
        if kind == "flops"
        else (params_costs(nano, table), count_parameters, Budget("params", 0.7))
    )
    chosen = select(random_damage(table, 0), table, budget=budget, costs=costs)
    smaller = remove(nano, table, chosen.tags)
    assert isinstance(smaller, Detector)
    assert chosen.predicted == (count(nano), count(smaller))
    assert 0.69 < chosen.achieved <= 0.7


def test_less_is_lost_than_with_one_share_for_all(nano: Detector) -> None:
    table = trace(nano, torch.rand(1, 3, 64, 64))
    layers = sized_layers(nano, torch.zeros(1, 3, 640, 640))
    costs, damage = Costs(layers, table, flops_price(layers)), random_damage(table, 0)
    every, each = (
        select(damage, table, budget=Budget("flops", 0.7), scope=scope, costs=costs)
        for scope in ("global", "layer")
    )
    assert lost(damage, every) < 0.5 * lost(damage, each)
