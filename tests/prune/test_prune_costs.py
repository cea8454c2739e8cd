"""Costs by widths: operations and parameters exactly as those of a network that is really cut."""

import math
from collections.abc import Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from prunus.model.channels.table import ChannelTable
from prunus.model.channels.trace import trace
from prunus.model.cost import count_flops, count_parameters
from prunus.model.detector import Detector
from prunus.model.layers import sized_layers
from prunus.prune.costs import Costs, flops_price, params_costs
from prunus.prune.surgery import remove

IMAGE = torch.rand(1, 3, 8, 8)


def chain() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1, bias=False),
        nn.PReLU(4), nn.Conv2d(4, 2, 1),
    ).eval()  # fmt: skip


class Joined(nn.Module):
    """A norm after a join, a depthwise, a grouped, a transposed layer, and a linear one."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 12, 3, padding=1)
        self.norm = nn.BatchNorm2d(20)
        self.mix = nn.Conv2d(20, 16, 1)
        self.deep = nn.Conv2d(16, 32, 3, stride=2, padding=1, groups=16)
        self.grouped = nn.Conv2d(32, 8, 3, padding=1, groups=2, bias=False)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.scale = nn.Parameter(torch.rand(1, 6, 1, 1))
        self.last = nn.Linear(6 * 8 * 8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(torch.cat((self.one(x), self.two(x)), 1))
        x = self.up(self.grouped(self.deep(self.mix(x)).relu()))
        return self.last((x * self.scale).flatten(1))


def cut(network: nn.Module, table: ChannelTable, kept: Mapping[str, int]) -> nn.Module:
    tags = [group.tags[kept.get(group.name, len(group)) :] for group in table.groups]
    return remove(network, table, torch.cat(tags))


def some_widths(table: ChannelTable, seed: int) -> dict[str, int]:
    random = torch.Generator().manual_seed(seed)
    return {
        group.name: int(torch.randint(1, len(group) + 1, (1,), generator=random))
        for group in table.free_groups
    }


def flops(network: nn.Module, image: Tensor) -> float:
    layers = sized_layers(network, image)
    return sum(flops_price(layers)(key, *row[1:]) for key, row in layers.items())


def test_parameters_by_hand() -> None:
    network = chain()
    costs = params_costs(network, trace(network, IMAGE))
    assert costs.total({}) == 6 * 28 + 12 + 24 + 4 + 10 == count_parameters(network)
    assert costs.total({"0": 5, "3": 2}) == 5 * 28 + 10 + 10 + 2 + 6
    assert costs.neighbours("0") == {"3"}, "both decide the size of layer 3"
    curve = costs.curve("0", (1, 6), {"3": 2})
    assert curve.tolist() == [1 * (28 + 2 + 2), 6 * (28 + 2 + 2)]


def test_operations_by_hand() -> None:
    network = chain()
    layers = sized_layers(network, IMAGE)
    costs = Costs(layers, trace(network, IMAGE), flops_price(layers), rest=7.0)
    assert costs.total({}) == 7 + 2 * 64 * (27 * 6 + 6 * 4 + 4 * 2)
    assert costs.total({"0": 2}) == 7 + 2 * 64 * (27 * 2 + 2 * 4 + 4 * 2)


@pytest.mark.parametrize(
    ("conv", "shape", "expected"),
    [
        (nn.Conv2d(4, 6, 3, stride=2, dilation=2), (1, 4, 9, 11), 2 * 9 * 4 * 6 * 3 * 4),
        (nn.Conv2d(4, 6, 3, groups=2), (2, 4, 5, 5), 2 * 9 * 2 * 6 * 9 * 2),
        (nn.Conv2d(4, 8, 3, groups=4), (1, 4, 5, 5), 2 * 9 * 8 * 9),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), (1, 4, 5, 5), 2 * 4 * 4 * 6 * 25),
        (nn.Linear(4, 6), (3, 7, 4), 2 * 4 * 6 * 21),
    ],
)
def test_operations_of_each_kind(conv: nn.Module, shape: tuple[int, ...], expected: int) -> None:
    assert flops(nn.Sequential(conv), torch.rand(shape)) == expected


def test_a_layer_called_at_two_sizes_counts_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.head(x), self.head(x[..., ::2, ::2])

    network = Twice()
    layers = sized_layers(network, IMAGE)
    costs = Costs(layers, trace(network, IMAGE), flops_price(layers))
    assert costs.total({}) == 2 * 3 * 4 * (64 + 16)


@given(seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_both_are_those_of_the_network_that_is_really_cut(seed: int) -> None:
    torch.manual_seed(0)
    network = Joined().eval()
    table = trace(network, IMAGE)
    layers = sized_layers(network, IMAGE)
    kept = some_widths(table, seed)
    smaller = cut(network, table, kept)
    assert params_costs(network, table).total(kept) == count_parameters(smaller)
    expected = flops(smaller, IMAGE)
    assert Costs(layers, table, flops_price(layers)).total(kept) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_of_a_detector_too(nano: Detector, seed: int) -> None:
    table = trace(nano, torch.rand(1, 3, 64, 64))
    layers = sized_layers(nano, torch.zeros(1, 3, 640, 640))
    kept = some_widths(table, seed)
    smaller = cut(nano, table, kept)
    assert isinstance(smaller, Detector)
    assert params_costs(nano, table).total(kept) == count_parameters(smaller)
    costs = Costs(layers, table, flops_price(layers))
    assert costs.total(kept) == count_flops(smaller) < costs.total({}) == count_flops(nano)


def test_a_parameter_with_two_names_counts_once() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))
    network[2].weight = network[1].weight
    network.append(nn.Conv2d(4, 2, 1))
    table = trace(network, IMAGE)
    (group,) = table.free_groups
    kept = {group.name: 3}
    assert params_costs(network, table).total(kept) == count_parameters(cut(network, table, kept))


@given(seed=st.integers(0, 1000), stepped=st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_curve_says_what_a_change_of_one_group_costs(seed: int, stepped: bool) -> None:
    network = Joined().eval()
    table = trace(network, IMAGE)
    layers = sized_layers(network, IMAGE)

    def by_fours(_: str, inputs: int, outputs: int) -> float:
        return math.ceil(inputs / 4) * math.ceil(outputs / 4) + 1.5

    costs = Costs(layers, table, by_fours if stepped else flops_price(layers), rest=3.0)
    kept = some_widths(table, seed)
    for group in table.free_groups:
        widths = tuple(range(1, len(group) + 1))
        curve = costs.curve(group.name, widths, kept)
        totals = [costs.total({**kept, group.name: width}) for width in widths]
        torch.testing.assert_close(
            torch.tensor(curve - curve[0]), torch.tensor(totals, dtype=torch.float64) - totals[0]
        )


def test_a_layer_that_was_not_traced_keeps_its_widths() -> None:
    network = chain()
    layers = sized_layers(network, IMAGE)
    empty = ChannelTable({}, {}, {}, (), {})
    assert Costs(layers, empty, lambda _, i, o: float(i * o)).total({}) == 18 + 24 + 8
