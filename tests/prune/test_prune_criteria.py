"""The contract every row of CRITERIA keeps. A new criterion is tested by adding its row.

Here are only exceptions named: what a property is not true of.
"""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from prunus.model.channels.table import ChannelGroup
from prunus.model.channels.trace import trace
from prunus.model.detector import Detector
from prunus.model.loss import DetectionLoss, LossGains
from prunus.prune.criteria import CRITERIA
from prunus.prune.criteria.members import Criterion
from prunus.prune.evidence import Calibration, Evidence
from prunus.prune.surgery import mask_, named_tensors

BY_CHANCE = {"random"}
BLIND_TO_SIZE = {"fpgm", *BY_CHANCE}
every_criterion = pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA.keys())


def all_but(names: set[str]) -> pytest.MarkDecorator:
    left = {name: criterion for name, criterion in CRITERIA.items() if name not in names}
    return pytest.mark.parametrize("criterion", left.values(), ids=left.keys())


class Coupled(nn.Module):
    """Two layers of six channels, tied by an addition."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)) for _ in range(2))
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.a(x) + self.b(x)).relu())


def coupled(randomised: Callable[[nn.Module], nn.Module]) -> tuple[ChannelGroup, Evidence]:
    """Return the six channels, and a loss that grows with the outputs in proportion."""
    torch.manual_seed(0)
    network = randomised(Coupled())
    nn.init.normal_(network.b[1].weight)
    batches = list(torch.rand(3, 4, 3, 8, 8))
    wanted = torch.randn(2, 6, 6)

    def losses(model: nn.Module) -> Iterator[Tensor]:
        return ((model(batch) * wanted).mean() for batch in batches)

    table = trace(network, batches[0])
    (group,) = table.free_groups
    return group, Evidence(network, table, Calibration(lambda: batches, losses, total=3))


Six = tuple[ChannelGroup, Evidence]


@pytest.fixture
def six(randomised: Callable[[nn.Module], nn.Module]) -> Six:
    return coupled(randomised)


@pytest.fixture
def of_nano(nano: Detector) -> Evidence:
    """Return a detector, two batches of labelled noise and its own loss."""
    noise = torch.Generator().manual_seed(0)
    batches = list(torch.rand(2, 2, 3, 64, 64, generator=noise))
    targets = torch.tensor([[0, 0, 0.5, 0.5, 0.4, 0.6], [1, 2, 0.3, 0.6, 0.2, 0.2]])

    def losses(model: nn.Module) -> Iterator[Tensor]:
        judge = DetectionLoss(nano, LossGains())
        return (judge(model(batch), targets).total(len(batch)) for batch in batches)

    table = trace(nano, batches[0][:1])
    return Evidence(nano, table, Calibration(lambda: batches, losses, total=2))


def scores_of(criterion: Criterion, six: Six) -> Tensor:
    group, evidence = six
    return criterion([group], evidence)[group.name]


@every_criterion
def test_gives_one_finite_score_per_tied_channel(criterion: Criterion, six: Six) -> None:
    scores = scores_of(criterion, six)
    assert scores.shape == (6,) and scores.dtype == torch.float32
    assert scores.isfinite().all()
    assert not scores.requires_grad


@every_criterion
def test_scores_the_groups_of_a_detector_that_are_asked_for(
    criterion: Criterion, of_nano: Evidence
) -> None:
    groups = of_nano.table.free_groups[1:]
    scores = criterion(groups, of_nano)
    assert {name: len(values) for name, values in scores.items()} == {
        group.name: len(group) for group in groups
    }
    assert all(values.isfinite().all() for values in scores.values())
    assert all(len(values.unique()) > 1 for values in scores.values())


@every_criterion
def test_says_the_same_twice_and_in_training_mode(criterion: Criterion, of_nano: Evidence) -> None:
    groups = of_nano.table.free_groups
    of_nano.model.eval()
    first = criterion(groups, of_nano)
    of_nano.model.train()
    second = criterion(groups, of_nano)
    assert all(first[name].equal(second[name]) for name in first)


@all_but(BY_CHANCE)
def test_shuffling_the_channels_shuffles_the_scores(criterion: Criterion, six: Six) -> None:
    group, evidence = six
    before, order = scores_of(criterion, six), torch.tensor([3, 1, 5, 0, 2, 4])
    for slot in group.slots:
        tensor = evidence.tensors[slot.tensor].data
        tensor.copy_(tensor.index_select(slot.dimension, order))
    torch.testing.assert_close(scores_of(criterion, six), before[order], rtol=1e-4, atol=1e-9)


@every_criterion
def test_ranks_the_same_when_all_weights_are_scaled(criterion: Criterion, six: Six) -> None:
    """Tenfold filters and columns; the batch norms undo what is before them, and add their own."""
    _, evidence = six
    before = scores_of(criterion, six).argsort()
    for name, tensor in evidence.tensors.items():
        if tensor.is_floating_point():
            tensor.data.mul_(100 if name.endswith("running_var") else 10)
    assert scores_of(criterion, six).argsort().equal(before)


@all_but(BLIND_TO_SIZE)
def test_a_channel_of_zeros_comes_last(criterion: Criterion, six: Six) -> None:
    group, evidence = six
    mask_(evidence.model, evidence.table, group.tags[4:5])
    scores = scores_of(criterion, six)
    assert scores.argmin() == 4 and scores[4] == 0


@all_but(BY_CHANCE)
def test_a_layer_of_zeros_has_scores_too(criterion: Criterion, six: Six) -> None:
    group, evidence = six
    mask_(evidence.model, evidence.table, group.tags)
    assert scores_of(criterion, six).eq(0).all()


@all_but(BY_CHANCE)
@pytest.mark.parametrize("part", ["a", "b"])
def test_takes_part_of_every_tied_layer(criterion: Criterion, six: Six, part: str) -> None:
    _, evidence = six
    before = scores_of(criterion, six)
    weakest = before.argmin()
    for name in (f"{part}.0.weight", f"{part}.1.weight"):
        evidence.tensors[name].data[weakest] *= 10
    assert scores_of(criterion, six)[weakest] > before[weakest]


@every_criterion
def test_leaves_the_network_alone(criterion: Criterion, of_nano: Evidence) -> None:
    """Frozen but for one weight, which has a gradient; in training but for one row."""
    model = of_nano.model.train().requires_grad_(False)
    model.get_submodule("model.3").eval()
    weight = model.get_parameter("model.0.conv.weight").requires_grad_(True)
    weight.grad = torch.ones_like(weight)
    before = {name: tensor.clone() for name, tensor in named_tensors(model).items()}
    state = state_of(model)
    criterion(of_nano.table.free_groups, of_nano)
    assert state_of(model) == state
    assert weight.grad.eq(1).all()
    assert all(tensor.equal(before[name]) for name, tensor in named_tensors(model).items())


def state_of(model: nn.Module) -> list[object]:
    """Return flags, which have gradients, modes and numbers of hooks."""
    flags = [(tensor.requires_grad, tensor.grad is None) for tensor in model.parameters()]
    modules = [
        (module.training, len(module._forward_hooks), len(module._forward_pre_hooks))
        for module in model.modules()
    ]
    return [*flags, *modules]
