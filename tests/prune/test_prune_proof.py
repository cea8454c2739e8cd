import copy
import logging
import math
from collections.abc import Callable

import pytest
import torch
from networks.cuts import enliven_
from networks.detector_blocks import DETECTOR_BLOCKS
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.probe import Inputs
from prunus.model.channels.table import ChannelTable
from prunus.model.channels.trace import trace
from prunus.prune.comparison import difference
from prunus.prune.proof import CutError, cut, cut_exactly

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
    with pytest.raises(CutError, match=r"differs from the masked one by .* thrown away") as caught:
        cut(network, table, table.free_groups[0].tags[:1], IMAGE)
    assert caught.value.module == "middle"


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
    with pytest.raises(
        CutError, match=r"module 'middle\.1' fails after the cut: .*--keep"
    ) as caught:
        cut(network, table, table.free_groups[0].tags[:1], IMAGE)
    assert caught.value.module == "middle.1"


def test_a_network_that_only_takes_single_precision_is_proved_in_that() -> None:
    class Casting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.float()

    network = Between(Casting())
    table = trace(network, IMAGE)
    smaller, error = cut(network, table, table.free_groups[0].tags[:3], IMAGE)
    assert error < 1e-6
    assert next(smaller.parameters()).dtype == torch.float32


def one_of(*names: str) -> Callable[[ChannelTable], Tensor]:
    """Choose one channel of each free group whose name begins like this; of every one, if none."""

    def choose(table: ChannelTable) -> Tensor:
        tags = [group.tags[:1] for group in table.free_groups if group.name.startswith(names or "")]
        return torch.cat([torch.zeros(0, dtype=torch.int64), *tags])

    return choose


class TwoStages(nn.Module):
    """Two stages of two layers; between those of each lies `middle`."""

    def __init__(self, middle: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.one, self.two = Between(middle()), Between(middle())
        self.two.conv = nn.Conv2d(2, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x))


@pytest.mark.parametrize("middle", [KnowsTheWidth, CountsChannels])
def test_what_enters_a_failing_module_is_kept_and_the_cut_made_again(
    middle: Callable[[], nn.Module], caplog: pytest.LogCaptureFixture
) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.inner = nn.Conv2d(3, 3, 1), Between(middle())

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(self.enter(x))

    network = enliven_(Network())
    state = copy.deepcopy(network.state_dict())
    with caplog.at_level(logging.WARNING, "prunus"):
        proved = cut_exactly(network, IMAGE, one_of())

    assert list(proved.pinned) == ["inner.middle"]
    assert [group.name for group in proved.table.free_groups] == ["enter"]
    frozen = {group.name: group.frozen for group in proved.table.groups}
    assert frozen["inner.conv"].endswith("breaks when they are fewer in inner.middle")
    assert len(proved.tags) == 1 and proved.model.enter.out_channels == 2
    assert proved.error < 1e-12
    (record,) = caplog.records
    assert "What meets 'inner.middle' is kept, and the cut made again" in record.message
    assert "\n" not in record.message
    assert all(tensor.equal(state[name]) for name, tensor in network.state_dict().items())


def test_where_the_input_is_not_to_blame_all_that_the_module_handles_is_kept() -> None:
    """The attention of C3k2 counts on its input's channels to view what its own layer makes."""
    network = enliven_(DETECTOR_BLOCKS["C3k2"]())
    attention = "block.blocks.0.1.attention"
    proved = cut_exactly(network, torch.rand(2, 3, 8, 8), one_of(f"{attention}.qkv", "stem.0"))
    assert list(proved.pinned) == [attention, f"{attention}.*"]
    assert proved.model.stem[0].out_channels == 7
    assert proved.error < 1e-12


def test_the_same_kind_of_module_is_pinned_everywhere_when_it_fails_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList(Part() for _ in range(6))
            self.head = nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            for part in self.parts:
                x = part(x)
            return self.head(x)

    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.back = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            wide = self.wide(x)
            return x + self.back(wide.view(len(x), 2, 4, -1).flip(3).view_as(wide))

    proved = cut_exactly(enliven_(Same()), IMAGE, one_of())
    assert set(proved.pinned) == {f"parts.{number}.back" for number in range(6)}
    assert len(caplog.records) == 2
    assert proved.error < 1e-12


def test_the_same_pins_give_the_same_table() -> None:
    network = TwoStages(KnowsTheWidth)
    proved = cut_exactly(network, IMAGE, one_of())
    again = trace(network, IMAGE, pinned=proved.pinned)
    assert again.frozen == proved.table.frozen
    replayed = cut_exactly(network, IMAGE, lambda _: proved.tags, pinned=proved.pinned)
    assert replayed.pinned == proved.pinned
    state = replayed.model.state_dict()
    assert all(tensor.equal(state[name]) for name, tensor in proved.model.state_dict().items())


def test_a_network_that_cannot_be_mended_is_not_handed_out() -> None:
    class Fickle(nn.Module):
        """Differs from itself: no cut can be proved."""

        def forward(self, x: Tensor) -> Tensor:
            return x + torch.rand(())

    with pytest.raises(CutError, match=r"differs from the masked one .*'middle', so it is thrown"):
        cut_exactly(Between(Fickle()), IMAGE, one_of())


def test_a_choice_that_finds_nothing_speaks_for_itself() -> None:
    def choose(_table: ChannelTable) -> Tensor:
        raise PruningError("no channel may be removed: every layer is kept.")

    with pytest.raises(PruningError, match="no channel may be removed"):
        cut_exactly(Between(nn.ReLU()), IMAGE, choose)


@pytest.mark.parametrize(
    "inputs", [IMAGE, (IMAGE,), {"x": IMAGE}], ids=["tensor", "positional", "by name"]
)
def test_a_network_can_be_called_in_three_ways(inputs: Inputs) -> None:
    proved = cut_exactly(Between(nn.ReLU()), inputs, one_of())
    assert proved.error < 1e-12 and len(proved.tags) == 1


def test_values_that_stand_for_none_say_nothing_of_how_large_an_error_is() -> None:
    class Network(nn.Module):
        def __init__(self, middle: nn.Module) -> None:
            super().__init__()
            self.conv, self.head, self.middle = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1), middle

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            marks = torch.full((len(x), 2, 1, x.shape[-1]), torch.finfo(x.dtype).max)
            x = torch.cat((self.head(self.middle(x)), marks), dim=2)
            return torch.cat((x, torch.full_like(x[:, :, :1], math.inf)), dim=2)

    with pytest.raises(CutError, match=r"first in module 'middle'"):
        network = Network(CountsChannels())
        table = trace(network, IMAGE)
        cut(network, table, table.free_groups[0].tags[:1], IMAGE)
    assert cut_exactly(Network(nn.ReLU()), IMAGE, one_of()).error < 1e-12


def test_difference_is_relative_to_the_largest_expected_value() -> None:
    one = {"a": torch.tensor([1.0, 10.0]), "b": (torch.tensor([0.5]),)}
    other = {"a": torch.tensor([1.0, 8.0]), "b": [torch.tensor([0.5])]}
    assert difference(one, other) == pytest.approx(2 / 8)
    assert difference(one, one) == 0


def test_difference_of_unlike_or_undefined_values_is_never_small() -> None:
    assert difference(torch.ones(2), torch.ones(3)) == math.inf
    assert math.isnan(difference([torch.ones(1), torch.tensor([math.nan])], [torch.ones(1)] * 2))
