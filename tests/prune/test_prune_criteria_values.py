"""Criteria that look at weights only: values by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.trace import trace
from prunus.prune.criteria import CRITERIA
from prunus.prune.evidence import Evidence

BN_SCALES = [name for name in CRITERIA if name.startswith("bn_scale")]


def scores_of(name: str, network: nn.Module, inputs: int = 1, seed: int = 0) -> Tensor:
    """Return the scores of the only group of a network."""
    table = trace(network, torch.rand(1, inputs, 4, 4))
    (group,) = table.free_groups
    return CRITERIA[name]([group], Evidence(network, table, seed=seed))[group.name]


def pair(filters: list[list[float]], columns: list[list[float]]) -> nn.Sequential:
    """Return a layer of these filters and one of these columns, 1 x 1 and without biases."""
    rows, readers = torch.tensor(filters).float(), torch.tensor(columns).float()
    first = nn.Conv2d(rows.size(1), rows.size(0), 1, bias=False)
    second = nn.Conv2d(readers.size(1), readers.size(0), 1, bias=False)
    first.weight.data, second.weight.data = rows[..., None, None], readers[..., None, None]
    return nn.Sequential(first, second)


class Sum(nn.Module):
    """Two layers that make the same two channels, with batch norm, and two that read them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)) for _ in range(2))
        self.left, self.right = nn.Conv2d(2, 1, 1), nn.Conv2d(2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        both = self.a(x) + self.b(x)
        return self.left(both) + self.right(both)

    def set_(self, name: str, *values: float) -> None:
        parameter = self.get_parameter(name)
        parameter.data = torch.tensor(values).float().view_as(parameter)


@pytest.fixture
def tied() -> Sum:
    network = Sum()
    network.set_("a.1.weight", 1, -4)
    network.set_("b.1.weight", 3, 1)
    network.set_("left.weight", 3, 1)
    network.set_("right.weight", -4, 0)
    return network


def test_bn_scale_is_the_mean_absolute_gamma(tied: Sum) -> None:
    assert scores_of("bn_scale", tied).tolist() == [2, 2.5]


def test_bn_scale_layer_is_relative_to_the_largest_of_the_layer(tied: Sum) -> None:
    """The means of 1/4 and 3/3, and of 4/4 and 1/3."""
    torch.testing.assert_close(scores_of("bn_scale_layer", tied), torch.tensor([5 / 8, 2 / 3]))


def test_bn_scale_next_counts_the_weights_that_read_it(tied: Sum) -> None:
    """Norms of the columns: 5 and 1."""
    assert scores_of("bn_scale_next", tied).tolist() == [10, 2.5]


def test_moving_scale_behind_the_batch_norm_leaves_bn_scale_next_alone(tied: Sum) -> None:
    before = scores_of("bn_scale_next", tied)
    for name in ("a.1.weight", "b.1.weight"):
        tied.get_parameter(name).data *= 8
    for name in ("left.weight", "right.weight"):
        tied.get_parameter(name).data /= 8
    assert scores_of("bn_scale_next", tied).equal(before)


@pytest.mark.parametrize("name", BN_SCALES)
def test_without_batch_norm_it_says_what_to_do(name: str) -> None:
    with pytest.raises(PruningError, match=rf"0: has no .*, so {name} cannot .* --criterion l1"):
        scores_of(name, pair([[1], [2]], [[1, 1]]))


@pytest.mark.parametrize(("name", "expected"), [("l1", [0.4, 1.6]), ("l2", [0.25, 1.75])])
def test_norms_are_relative_to_their_layer(name: str, expected: list[float]) -> None:
    """Norms 1 and 4, of mean 2.5; or 1 and 7, of mean 4."""
    second = [-2.0, 2.0] if name == "l1" else [0.0, 7.0]
    scores = scores_of(name, pair([[1, 0], second], [[1, 1]]), inputs=2)
    torch.testing.assert_close(scores, torch.tensor(expected))


def test_group_l2_counts_what_makes_the_channel_and_what_reads_it() -> None:
    """Norms sqrt(3² + 4²) and 15, of mean 10."""
    scores = scores_of("group_l2", pair([[3], [0]], [[4, 9], [0, 12]]))
    torch.testing.assert_close(scores, torch.tensor([0.5, 1.5]))


def test_group_l2_counts_every_position_of_a_flattened_channel() -> None:
    """Two channels of 4 x 4 pixels: 16 columns each, all of ones or all of threes."""
    network = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.Flatten(), nn.Linear(32, 1))
    nn.init.zeros_(network[0].weight)
    network[2].weight.data = torch.tensor([1.0, 3.0]).repeat_interleave(16)[None]
    torch.testing.assert_close(scores_of("group_l2", network), torch.tensor([0.5, 1.5]))


@pytest.mark.parametrize(
    ("norms", "expected"),
    [
        ([1, 3, 2], [1 / 14, 1, 4 / 13]),
        ([2, 1, 2], [1 / 2, 1 / 9, 1 / 2]),
        ([5, 0, 0], [1.0, 0, 0]),
    ],
)
def test_lamp_is_the_share_of_what_is_not_smaller(norms: list[int], expected: list[float]) -> None:
    scores = scores_of("lamp", pair([[norm] for norm in norms], [[1, 1, 1]]))
    torch.testing.assert_close(scores, torch.tensor(expected))


def test_lamp_of_tied_layers_lets_the_best_channel_live(tied: Sum) -> None:
    """Squares 1 and 9 (of mean 5), 16 and 4 (of mean 10): 0.9 against 1.1, of 2."""
    tied.set_("a.0.weight", 1, 3)
    tied.set_("b.0.weight", 4, 2)
    torch.testing.assert_close(scores_of("lamp", tied), torch.tensor([0.9 / 2, 1]))


def test_fpgm_is_the_sum_of_the_distances_to_the_others() -> None:
    """Filters at 0, 3 and 1 on a line: 4, 5 and 3, of mean 4; the one in the middle goes."""
    scores = scores_of("fpgm", pair([[0], [3], [1]], [[1, 1, 1]]))
    torch.testing.assert_close(scores, torch.tensor([1, 1.25, 0.75]))


def test_fpgm_sees_no_size_but_redundancy() -> None:
    """Two large equal filters are nearer to the others than the small one that is like none."""
    scores = scores_of("fpgm", pair([[8, 0], [8, 0], [0, 1]], [[1, 1, 1]]), inputs=2)
    far = math.sqrt(65)
    torch.testing.assert_close(scores, torch.tensor([far, far, 2 * far]) * 3 / (4 * far))


def test_random_follows_the_seed() -> None:
    network = pair([[1]] * 32, [[1] * 32])
    assert scores_of("random", network).equal(scores_of("random", network))
    assert not scores_of("random", network).equal(scores_of("random", network, seed=1))
    assert len(scores_of("random", network).unique()) == 32
