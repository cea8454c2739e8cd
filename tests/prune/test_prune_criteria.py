"""The contract every row of CRITERIA keeps. A new criterion is tested by adding its row."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.table import ChannelGroup
from prunus.model.channels.trace import trace
from prunus.prune.criteria import CRITERIA
from prunus.prune.criteria.members import Criterion
from prunus.prune.surgery import named_tensors

every_criterion = pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA.keys())


class Coupled(nn.Module):
    """Two layers of six channels, tied by an addition."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)) for _ in range(2))
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.a(x) + self.b(x))


def coupled() -> tuple[ChannelGroup, dict[str, Tensor]]:
    torch.manual_seed(0)
    network = Coupled()
    for part in (network.a, network.b):
        nn.init.normal_(part[1].weight)
    (group,) = trace(network, torch.rand(1, 3, 8, 8)).free_groups
    return group, named_tensors(network)


def of_channels(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """Return what belongs to the six channels, channels first."""
    return [tensors[name].data for name in tensors if name[0] in "ab" and tensors[name].ndim > 0]


@every_criterion
def test_gives_one_finite_score_per_tied_channel(criterion: Criterion) -> None:
    scores = criterion(*coupled())
    assert scores.shape == (6,) and scores.dtype == torch.float32
    assert scores.isfinite().all()
    assert not scores.requires_grad


@every_criterion
def test_shuffling_the_channels_shuffles_the_scores(criterion: Criterion) -> None:
    group, tensors = coupled()
    before, order = criterion(group, tensors), torch.tensor([3, 1, 5, 0, 2, 4])
    for tensor in of_channels(tensors):
        tensor.copy_(tensor[order])
    torch.testing.assert_close(criterion(group, tensors), before[order])


@every_criterion
def test_ranks_the_same_when_all_weights_are_scaled(criterion: Criterion) -> None:
    group, tensors = coupled()
    before = criterion(group, tensors).argsort()
    for tensor in of_channels(tensors):
        tensor.mul_(10)
    assert criterion(group, tensors).argsort().equal(before)


@every_criterion
def test_a_channel_of_zeros_comes_last(criterion: Criterion) -> None:
    group, tensors = coupled()
    for tensor in of_channels(tensors):
        tensor[4] = 0
    scores = criterion(group, tensors)
    assert scores.argmin() == 4 and scores[4] == 0


@every_criterion
def test_a_layer_of_zeros_has_scores_too(criterion: Criterion) -> None:
    group, tensors = coupled()
    for tensor in of_channels(tensors):
        tensor.zero_()
    assert criterion(group, tensors).eq(0).all()


@every_criterion
def test_takes_part_of_every_tied_layer(criterion: Criterion) -> None:
    group, tensors = coupled()
    before = criterion(group, tensors)
    for name in ("a.0.weight", "a.1.weight"):
        tensors[name].data[2] *= 100
    first = criterion(group, tensors)
    for name in ("b.0.weight", "b.1.weight"):
        tensors[name].data[2] *= 100
    assert before[2] < first[2] < criterion(group, tensors)[2]


@every_criterion
def test_leaves_the_weights_alone(criterion: Criterion) -> None:
    group, tensors = coupled()
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    criterion(group, tensors)
    assert all(tensor.equal(before[name]) for name, tensor in tensors.items())


def test_bn_scale_is_the_mean_absolute_gamma() -> None:
    group, tensors = coupled()
    tensors["a.1.weight"].data = torch.tensor([1.0, -2, 0, 0, 4, 0.5])
    tensors["b.1.weight"].data = torch.tensor([3.0, 2, 0, 1, -4, 0.5])
    assert CRITERIA["bn_scale"](group, tensors).tolist() == [2, 2, 0, 0.5, 4, 0.5]


@pytest.mark.parametrize(("name", "expected"), [("l1", [0.4, 1.6]), ("l2", [0.25, 1.75])])
def test_norms_are_relative_to_their_layer(name: str, expected: list[float]) -> None:
    """Norms 1 and 4, of mean 2.5; or 1 and 7, of mean 4."""
    network = nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.Conv2d(2, 1, 1))
    second = [-2.0, 2.0] if name == "l1" else [0.0, 7.0]
    network[0].weight.data = torch.tensor([[1.0, 0.0], second]).view(2, 2, 1, 1)
    (group,) = trace(network, torch.rand(1, 2, 4, 4)).free_groups
    scores = CRITERIA[name](group, named_tensors(network))
    torch.testing.assert_close(scores, torch.tensor(expected))


def test_without_batch_norm_bn_scale_says_what_to_do() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    (group,) = trace(network, torch.rand(1, 3, 4, 4)).free_groups
    with pytest.raises(PruningError, match=r"0: has no batch norm, .* Choose --criterion l1"):
        CRITERIA["bn_scale"](group, named_tensors(network))
