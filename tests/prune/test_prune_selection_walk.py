"""The parts of the search for the least loss, one by one."""

import math

import pytest
import torch

from prunus.model.channels.table import ChannelGroup, ChannelTable, Slot
from prunus.model.layers import LayerShape
from prunus.prune.costs import Costs, Price
from prunus.prune.damage import from_scores
from prunus.prune.descent import descend, exchange, give_back
from prunus.prune.walk import Walk
from prunus.prune.widths import Rounding, choice

SHAPE = LayerShape("conv", (1, 1), (1, 1), (0, 0), (1, 1), 1, (1, 1), "")


def walk_of(first: list[float], second: list[float], price: Price, step: int = 1) -> Walk:
    """Return 3 -> a -> b -> 5 at its full widths; the scores of a's and b's channels."""
    groups, tags = [], {}
    ends = [3, len(first), len(second), 5]
    for number, size in enumerate(ends[1:3]):
        made, read = (f"{number}.weight", 0), (f"{number + 1}.weight", 1)
        slots = Slot(*made, "filter", torch.arange(size)), Slot(*read, "column", torch.arange(size))
        tags[made] = tags[read] = torch.arange(size) + 100 * number
        groups.append(ChannelGroup("ab"[number], tags[made], slots))
    layers = {f"{i}.weight": (SHAPE, ends[i], ends[i + 1]) for i in range(3)}
    costs = Costs(layers, ChannelTable(tags, {}, {}, tuple(groups), {}), price)
    damages = (from_scores(torch.tensor(scores)) for scores in (first, second))
    rounding = Rounding(step, step)
    return Walk(
        [choice(group, each, rounding) for group, each in zip(groups, damages, strict=True)], costs
    )


def product_of(_: str, inputs: int, outputs: int) -> float:
    return float(inputs * outputs)


def by_eights(_: str, inputs: int, outputs: int) -> float:
    return float(math.ceil(inputs / 8) * math.ceil(outputs / 8))


def test_a_walk_knows_what_it_costs_and_loses() -> None:
    walk = walk_of([1.0, 2, 3, 4], [5.0, 6], product_of)
    assert walk.cost == 3 * 4 + 4 * 2 + 2 * 5 and walk.lost == 0
    walk.go(0, 1)
    walk.go(1, 0)
    assert walk.kept == [2, 1]
    assert walk.cost == 3 * 2 + 2 * 1 + 1 * 5 and walk.lost == 1 + 2 + 5


def test_what_was_saved_comes_back() -> None:
    walk = walk_of([1.0] * 4, [1.0] * 4, product_of)
    curve = walk.curve(1).tolist()
    saved = walk.save()
    walk.go(0, 0)
    assert walk.curve(1).tolist() != curve
    walk.restore(saved)
    assert walk.kept == [4, 4] and walk.cost == 48 and walk.curve(1).tolist() == curve


def test_a_jump_crosses_a_flat_stretch() -> None:
    walk = walk_of([1.0] * 24, [9.0] * 24, by_eights)
    descend(walk, walk.cost - 1)
    assert walk.kept == [16, 24]


def test_of_a_jump_no_channel_is_more_than_it_takes() -> None:
    walk = walk_of([1.0] * 8, [9.0] * 8, product_of)
    descend(walk, walk.cost - 1)
    assert walk.kept == [7, 8]


@pytest.mark.filterwarnings("error")
def test_nothing_that_saves_nothing_goes() -> None:
    def last_only(layer: str, inputs: int, _: int) -> float:
        return float(inputs) if layer == "2.weight" else 10.0

    walk = walk_of([0.0] * 8, [1.0] * 8, last_only)
    descend(walk, 25.0)
    assert walk.kept == [8, 5]
    descend(walk, 0.0)
    assert walk.kept == [8, 1], "it ends, though the limit is out of reach"


def test_a_held_group_stays() -> None:
    walk = walk_of([0.0] * 8, [1.0] * 8, product_of)
    descend(walk, 60.0, held=0)
    assert walk.kept[0] == 8 and walk.cost <= 60
    walk.go(0, 3)
    give_back(walk, 1000.0, held=0)
    assert walk.kept == [4, 8]


def test_what_costs_nothing_is_given_back_beyond_the_limit_too() -> None:
    walk = walk_of([1.0] * 16, [1.0] * 16, by_eights)
    walk.go(0, 8)
    walk.go(1, 11)
    assert walk.kept == [9, 12]
    give_back(walk, 0.0)
    assert walk.kept == [16, 16]


def test_what_undoes_most_for_its_cost_is_given_back_first() -> None:
    walk = walk_of([1.0, 1, 1, 1], [1.0, 1, 1, 3], product_of)
    walk.go(0, 2)
    walk.go(1, 2)
    cost = walk.cost
    give_back(walk, cost + 6)  # a: 3 + 3 for 1, b: 3 + 5 for 1
    assert walk.kept == [4, 3]
    assert walk.cost == cost + 6


def test_an_exchange_mends_what_the_walk_took_too_much_of() -> None:
    """Of 20, b's first channel saves 7 for 4, a's 5 for 3: cheaper by unit, but 5 is enough."""
    walk = walk_of([3.0, 5], [4.0, 4], product_of)
    descend(walk, 15)
    give_back(walk, 15)
    assert walk.kept == [2, 1] and walk.lost == 4
    exchange(walk, 15)
    assert walk.kept == [1, 2] and walk.lost == 3 and walk.cost == 15
