import math

import pytest
import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.trace import trace
from prunus.prune.proof import cut, difference

IMAGE = torch.rand(2, 3, 4, 4)


class Between(nn.Module):
    """Two layers with something between that its own Python code decides."""

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.conv, self.middle, self.head = nn.Conv2d(3, 8, 1), middle, nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self.conv(x)))


class CountsChannels(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / math.sqrt(x.shape[1])


class KnowsTheWidth(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], 8, 16).view_as(x)


def test_a_network_that_computes_something_else_is_never_handed_out() -> None:
    network = Between(CountsChannels())
    table = trace(network, IMAGE)
    with pytest.raises(PruningError, match=r"differs from the masked one by .* thrown away"):
        cut(network, table, table.free_groups[0].tags[:1], IMAGE)


def test_a_small_signal_beside_large_biases_is_still_compared() -> None:
    """As in an untrained detector, where biases are 1e10 times what comes from the image."""
    network = Between(CountsChannels())
    network.head.weight.data *= 1e-9
    network.head.bias.data += 5
    table = trace(network, IMAGE)
    with pytest.raises(PruningError, match=r"differs from the masked one"):
        cut(network, table, table.free_groups[0].tags[:1], IMAGE)


def test_a_network_that_breaks_names_the_module_that_breaks() -> None:
    network = Between(nn.Sequential(nn.ReLU(), KnowsTheWidth()))
    table = trace(network, IMAGE)
    with pytest.raises(PruningError, match=r"module 'middle\.1' fails after the cut: .*--keep"):
        cut(network, table, table.free_groups[0].tags[:1], IMAGE)


def test_a_network_that_only_takes_single_precision_is_proved_in_that() -> None:
    class Casting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.float()

    network = Between(Casting())
    table = trace(network, IMAGE)
    smaller, error = cut(network, table, table.free_groups[0].tags[:3], IMAGE)
    assert error < 1e-6
    assert next(smaller.parameters()).dtype == torch.float32


def test_difference_is_relative_to_the_largest_expected_value() -> None:
    one = {"a": torch.tensor([1.0, 10.0]), "b": (torch.tensor([0.5]),)}
    other = {"a": torch.tensor([1.0, 8.0]), "b": [torch.tensor([0.5])]}
    assert difference(one, other) == pytest.approx(2 / 8)
    assert difference(one, one) == 0


def test_difference_of_unlike_or_undefined_values_is_never_small() -> None:
    assert difference(torch.ones(2), torch.ones(3)) == math.inf
    assert math.isnan(difference([torch.ones(1), torch.tensor([math.nan])], [torch.ones(1)] * 2))
