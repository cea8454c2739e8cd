"""Criteria that look at images or labels: values by hand, and the loss that is really lost."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.trace import trace
from prunus.prune.criteria import CRITERIA
from prunus.prune.evidence import Calibration, Evidence
from prunus.prune.surgery import remove


def mean_of_outputs(model: nn.Module, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    return (model(batch).mean() for batch in batches)


def evidence_of(network: nn.Module, batches: Sequence[Tensor]) -> Evidence:
    """Return images, with the mean of the outputs as their loss."""
    calibration = Calibration(lambda: batches, lambda model: mean_of_outputs(model, batches))
    return Evidence(network, trace(network, batches[0]), calibration)


def scores_of(name: str, network: nn.Module, *batches: Tensor) -> Mapping[str, Tensor]:
    evidence = evidence_of(network, batches)
    return CRITERIA[name](evidence.table.free_groups, evidence)


def constants(*rows: tuple[float, ...]) -> Tensor:
    """Return images of one pixel, one a row, one channel a value."""
    return torch.tensor(rows).float()[..., None, None]


def identity_and(reader: nn.Module) -> nn.Sequential:
    """Return two channels that are the positive part of the two inputs, and what reads them."""
    first = nn.Conv2d(2, 2, 1, bias=False)
    first.weight.data = torch.eye(2)[..., None, None]
    return nn.Sequential(first, nn.ReLU(), reader)


class Compared(nn.Module):
    """Pixels look for similar ones: no weights read the channels that are compared."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(3, out) for out in (4, 4, 2))

    def forward(self, x: Tensor) -> Tensor:
        return (self.query(x) @ self.key(x).transpose(-1, -2)).softmax(-1) @ self.value(x)


@pytest.mark.parametrize("reader", [nn.Conv2d(2, 1, 1), nn.ConvTranspose2d(2, 4, 2, 2)])
def test_activation_is_the_root_mean_square_over_all_images(reader: nn.Module) -> None:
    """16 in one of four images, 4 in three of them: 2 and the root of 3, relative to their mean."""
    batches = constants((4, -9)), constants((0, 2), (0, 2), (-5, 2))
    (scores,) = scores_of("activation", identity_and(reader), *batches).values()
    expected = torch.tensor([2, math.sqrt(3)])
    torch.testing.assert_close(scores, expected / expected.mean())


def test_activation_is_measured_behind_what_lies_in_between() -> None:
    """Where it is made, the second channel is louder; its reader hears nothing of it."""
    scores = scores_of("activation", identity_and(nn.Conv2d(2, 1, 1)), constants((1, -9)))
    assert scores["0"].tolist() == [2, 0]


def test_activation_is_the_mean_over_the_groups_of_a_reader() -> None:
    """Tied channels 0 and 2, 1 and 3: squares 9 and 16 of one, 0 and 25 of the other: equal."""
    network = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.Conv2d(4, 2, 1, groups=2))
    network[0].weight.data = torch.eye(4)[..., None, None]
    scores = scores_of("activation", network, constants((3, 0, 4, 5)))
    torch.testing.assert_close(scores["0"], torch.ones(2))


def test_activation_hears_layers_that_are_called_by_keyword() -> None:
    class ByKeyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.make, self.read = nn.Linear(2, 2, bias=False), nn.Linear(2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.read(input=self.make(x))

    network = ByKeyword()
    network.make.weight.data = torch.eye(2)
    assert scores_of("activation", network, torch.tensor([[1.0, 3]]))["make"].tolist() == [0.5, 1.5]


def test_activation_of_channels_that_no_weights_read_is_measured_where_they_are_made() -> None:
    torch.manual_seed(0)
    network, batch = Compared(), torch.rand(2, 5, 3)
    scores = scores_of("activation", network, batch)["query+key"]
    made = [layer(batch).square().mean((0, 1)).sqrt() for layer in (network.query, network.key)]
    expected = sum(levels / levels.mean() for levels in made) / 2
    torch.testing.assert_close(scores, expected)


def test_activation_says_where_it_cannot_measure() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.make, self.read = (nn.Parameter(torch.rand(4, 4)) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.make @ self.read

    with pytest.raises(PruningError, match=r"make: criterion activation measures at .* or keep"):
        scores_of("activation", Bare(), torch.rand(2, 4))


def test_taylor_is_the_squared_change_of_the_loss_mean_over_the_batches() -> None:
    """Outputs 6x and -5x: squares 36 and 25, times the mean of 1² and 3², not the mean's square."""
    network = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.Conv2d(2, 1, 1))
    network[0].weight.data = constants((2,), (1,))
    network[1].weight.data = constants((3, -5))
    scores = scores_of("taylor", network, constants((1,)), constants((2,), (4,)))
    torch.testing.assert_close(scores["0"], torch.tensor([36 * 5.0, 25 * 5.0]))


def test_taylor_follows_the_loss_from_behind_the_activation() -> None:
    """sigmoid(0) = 1/2, read with weights 2 and 6; the filters, of zeros, would say nothing."""
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Sigmoid(), nn.Conv2d(2, 1, 1))
    for parameter in network[0].parameters():
        nn.init.zeros_(parameter)
    network[2].weight.data = constants((2, 6))
    assert scores_of("taylor", network, constants((1,)))["0"].tolist() == [1, 9]


def test_taylor_of_channels_that_no_weights_read_is_that_of_their_filters() -> None:
    torch.manual_seed(0)
    network, batch = Compared(), torch.rand(2, 5, 3)
    wanted = torch.rand(2, 5, 2)
    evidence = Evidence(
        network,
        trace(network, batch),
        Calibration(lambda: [batch], lambda model: [(model(batch) * wanted).mean()]),
    )
    scores = CRITERIA["taylor"](evidence.table.free_groups, evidence)["query+key"]
    (network(batch) * wanted).mean().backward()
    change = torch.zeros(4)
    for layer in (network.query, network.key):
        change += (layer.weight * layer.weight.grad).sum(1) + layer.bias * layer.bias.grad
    torch.testing.assert_close(scores, change.square())
    assert scores.gt(0).all()


class Forked(nn.Module):
    """Two layers, of which only the first says something in the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = (identity_and(nn.Conv2d(2, 1, 1)) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.one(x), self.other(x)


def forked(*losses: Callable[[nn.Module, Tensor], Tensor]) -> Mapping[str, Tensor]:
    """Return the scores, one batch a loss."""
    network, batch = Forked(), constants((1, 2))
    calibration = Calibration(list, lambda model: [loss(model, batch) for loss in losses])
    evidence = Evidence(network, trace(network, batch), calibration)
    return CRITERIA["taylor"](evidence.table.free_groups, evidence)


def first_output(model: nn.Module, batch: Tensor) -> Tensor:
    return model(batch)[0].mean()  # type: ignore[no-any-return]


def nothing(_model: nn.Module, _batch: Tensor) -> Tensor:
    return torch.ones(())


def test_taylor_of_what_the_loss_does_not_depend_on_is_zero() -> None:
    torch.manual_seed(0)
    scores = forked(first_output)
    assert scores["one.0"].gt(0).all() and scores["other.0"].tolist() == [0, 0]


def test_taylor_takes_a_loss_that_depends_on_nothing_for_no_change() -> None:
    torch.manual_seed(0)
    whole = forked(first_output)["one.0"]
    torch.manual_seed(0)
    torch.testing.assert_close(forked(nothing, first_output)["one.0"], whole / 2)


def test_taylor_refuses_losses_none_of_which_depends_on_the_weights() -> None:
    with pytest.raises(PruningError, match="taylor: the loss depends on none of the weights"):
        forked(nothing, lambda model, batch: first_output(model, batch).detach())


def test_taylor_of_no_groups_is_nothing() -> None:
    batch = constants((1, 2))
    assert CRITERIA["taylor"]([], evidence_of(identity_and(nn.Conv2d(2, 1, 1)), [batch])) == {}


def test_taylor_agrees_with_really_removing_each_channel(
    randomised: Callable[[nn.Module], nn.Module],
) -> None:
    torch.manual_seed(0)
    network = randomised(deep()).eval()
    batches = [(torch.rand(8, 3, 12, 12), torch.randint(0, 5, (8,))) for _ in range(4)]

    def losses(model: nn.Module) -> Iterator[Tensor]:
        return (nn.functional.cross_entropy(model(images), labels) for images, labels in batches)

    def lost(model: nn.Module) -> Tensor:
        with torch.no_grad():
            return torch.stack(list(losses(model)))

    table = trace(network, batches[0][0])
    images = Calibration(lambda: [images for images, _ in batches], losses)
    scores = CRITERIA["taylor"](table.free_groups, Evidence(network, table, images))
    said = torch.cat([scores[group.name] for group in table.free_groups])
    tags = torch.cat([group.tags for group in table.free_groups])
    dense = lost(network)
    true = [(lost(remove(network, table, tag[None])) - dense).square().mean() for tag in tags]
    assert rank_correlation(said, torch.stack(true)) > 0.8


def deep() -> nn.Sequential:
    """Return three layers of twelve channels with batch norm and SiLU, and five classes."""
    widths = (3, 12, 12, 12)
    layers = [
        layer
        for before, after in pairwise(widths)
        for layer in (nn.Conv2d(before, after, 3), nn.BatchNorm2d(after), nn.SiLU())
    ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5))


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Return Spearman's rank correlation."""
    ranks = torch.stack((first.argsort().argsort(), second.argsort().argsort()))
    return float(torch.corrcoef(ranks.double())[0, 1])


@pytest.mark.parametrize("name", ["taylor", "activation"])
def test_without_images_it_says_what_to_do(name: str) -> None:
    network = identity_and(nn.Conv2d(2, 1, 1))
    table = trace(network, torch.rand(1, 2, 4, 4))
    with pytest.raises(PruningError, match=rf"criterion {name}: looks at images.* Give --data"):
        CRITERIA[name](table.free_groups, Evidence(network, table))


def test_taylor_without_labels_says_what_to_do() -> None:
    network = identity_and(nn.Conv2d(2, 1, 1))
    table = trace(network, torch.rand(1, 2, 4, 4))
    with pytest.raises(PruningError, match=r"criterion taylor: needs labels.*activation"):
        CRITERIA["taylor"](table.free_groups, Evidence(network, table, Calibration(list)))


@pytest.mark.parametrize("name", ["taylor", "activation"])
def test_an_empty_stream_of_images_is_refused(name: str) -> None:
    network = identity_and(nn.Conv2d(2, 1, 1))
    table = trace(network, torch.rand(1, 2, 4, 4))
    nothing = Calibration(list, lambda _: [])
    with pytest.raises(PruningError, match=f"criterion {name}: there are no images"):
        CRITERIA[name](table.free_groups, Evidence(network, table, nothing))
