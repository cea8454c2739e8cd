"""The rise of the consumers' error, against regressions that are really made without channels."""

from collections.abc import Callable, Mapping, Sequence

import pytest
import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.trace import trace
from prunus.prune.criteria import CRITERIA, reconstruction
from prunus.prune.criteria.reconstruction import _Consumer, _rises
from prunus.prune.evidence import Calibration, Evidence
from prunus.prune.observe import moments
from prunus.prune.observe.observation import observe
from prunus.prune.observe.readers import read_patches


def ones(outputs: Sequence[Tensor]) -> list[Tensor]:
    return [torch.ones_like(output) for output in outputs]


def evidence_of(network: nn.Module, *batches: Tensor) -> Evidence:
    calibration = Calibration(lambda: iter(batches), weigh=ones, total=len(batches))
    table = trace(network, batches[0])
    seen = observe(network, table, calibration)
    return Evidence(network, table, calibration, observation=seen)


def scores_of(evidence: Evidence) -> Mapping[str, Tensor]:
    return CRITERIA["reconstruction"](evidence.table.free_groups, evidence)


@pytest.fixture
def no_ridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconstruction, "RIDGE", 1e-9)


def one_reader() -> nn.Sequential:
    """Return six channels and a 2 x 2 convolution that reads them."""
    return nn.Sequential(nn.Conv2d(3, 6, 1), nn.Tanh(), nn.Conv2d(6, 4, 2))


def residuals(inputs: Tensor, wanted: Tensor, weight: Tensor) -> float:
    """Return the weighed mean square that a regression with a constant leaves of `wanted`."""
    design = torch.cat((inputs, inputs.new_ones(len(inputs), 1)), dim=1)
    left = wanted - design @ torch.linalg.lstsq(design, wanted).solution
    return float((left.square().mean(0) * weight).sum())


def seen_by_last(evidence: Evidence, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the patches of the last layer, channel by channel, its outputs and their weights."""
    assert evidence.observation is not None
    network, seen = evidence.model, evidence.observation.layers["2"]
    patches = read_patches(network[2], network[:2](batch), seen.places[0]).detach()  # type: ignore[index,arg-type]
    return patches.view(len(patches), 6, 4), seen.targets[0], seen.weight


@pytest.mark.usefixtures("no_ridge")
def test_the_sums_of_scores_are_the_errors_of_regressions_without_the_channels() -> None:
    torch.manual_seed(0)
    network, batch = one_reader().double(), torch.randn(8, 3, 9, 9).double()
    evidence = evidence_of(network, batch)
    (scores,) = scores_of(evidence).values()
    patches, wanted, weight = seen_by_last(evidence, batch)

    def error(gone: Sequence[int]) -> float:
        rest = [channel for channel in range(6) if channel not in gone]
        return residuals(patches[:, rest].flatten(1), wanted, weight)

    order = scores.argsort().tolist()
    firsts = [error([channel]) for channel in range(6)]
    assert order[0] == firsts.index(min(firsts))
    assert scores[order[0]].item() == pytest.approx(min(firsts), rel=1e-4)
    for count in range(1, 7):
        expected = error(order[:count])
        assert scores[order[:count]].sum().item() == pytest.approx(expected, rel=1e-4)


def consumer(outputs: int, columns: Sequence[int], seed: int = 0) -> tuple[_Consumer, Tensor]:
    """Return a layer that reads these channels, and the covariance of what it reads."""
    random = torch.Generator().manual_seed(seed)
    size = len(columns)
    mixing = torch.randn(size, size, generator=random).double()
    covariance = mixing @ mixing.T / size + 0.1 * torch.eye(size)
    weight = torch.randn(size, outputs, generator=random).double()
    return _Consumer(weight, covariance.inverse(), torch.tensor(columns)), covariance


def left_over(weight: Tensor, covariance: Tensor, rest: Tensor) -> float:
    """Return the error of the best weights on the rest: a Schur complement."""
    gone = ~rest
    cross = covariance[gone][:, rest]
    schur = covariance[gone][:, gone]
    if rest.any():
        schur = schur - cross @ torch.linalg.solve(covariance[rest][:, rest], cross.T)
    return float((weight[gone] * (schur @ weight[gone])).sum())


@pytest.mark.parametrize("columns", [[0, 1, 2, 3, 4], [3, 0, 0, 1, 3, 2, 4, 4, 1], [1, 2, 2, 4]])
def test_each_step_is_the_step_of_least_rise(columns: list[int]) -> None:
    """Channels of one, two and no columns, in any order; sums over two layers."""
    parts = [consumer(3, columns), consumer(2, [4, 3, 2, 1, 0], seed=1)]
    originals = [(one.weight.clone(), covariance, one.channel) for one, covariance in parts]

    def error(gone: Sequence[int]) -> float:
        return sum(
            left_over(weight, covariance, ~torch.isin(channel, torch.tensor(gone)))
            for weight, covariance, channel in originals
        )

    scores = _rises([one for one, _ in parts], torch.zeros(5).double())
    gone: list[int] = []
    highest = 0.0
    while len(gone) < 5:
        rest = [channel for channel in range(5) if channel not in gone]
        best = min(rest, key=lambda channel: error([*gone, channel]))
        highest = max(highest, error([*gone, best]) - (error(gone) if gone else 0))
        assert scores[best].item() == pytest.approx(highest, rel=1e-5)
        gone.append(best)


def test_letting_go_of_what_is_gone_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    for share in (0.0, 0.75, 2.0):
        monkeypatch.setattr(reconstruction, "SHRINK_AT", share)
        one, _ = consumer(4, [c // 2 for c in range(40)])
        said.append(_rises([one], torch.zeros(20).double()))
    torch.testing.assert_close(said[0], said[1])
    torch.testing.assert_close(said[0], said[2])


@pytest.mark.usefixtures("no_ridge")
def test_a_channel_that_another_repeats_costs_nothing_and_then_its_twin_costs() -> None:
    torch.manual_seed(0)
    network, batch = one_reader().double(), torch.randn(8, 3, 9, 9).double()
    for tensor in network[0].state_dict().values():
        tensor[5] = tensor[2]
    (scores,) = scores_of(evidence_of(network, batch)).values()
    twins, others = scores[[2, 5]], scores[[0, 1, 3, 4]]
    assert twins.min() < 1e-4 * others.min() and twins.max() > others.min() / 10


def test_a_channel_that_nothing_reads_costs_nothing() -> None:
    class DeadEnd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.make, self.read = nn.Linear(3, 8), nn.Linear(8, 2)
            self.idle, self.loose = nn.Linear(3, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            self.loose(self.idle(x).relu())
            return self.read(self.make(x).relu())

    torch.manual_seed(0)
    scores = scores_of(evidence_of(DeadEnd(), torch.randn(64, 3)))
    assert scores["make"].gt(0).all() and scores["idle"].eq(0).all()


class Pyramid(nn.Module):
    """SPPF: one layer reads the same channels four times over; another reads them once more."""

    def __init__(self) -> None:
        super().__init__()
        self.make, self.pool = nn.Conv2d(3, 6, 1), nn.MaxPool2d(3, 1, 1)
        self.read, self.skip = nn.Conv2d(24, 5, 1), nn.Conv2d(6, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        made = self.make(x).relu()
        said = [made]
        for _ in range(3):
            said.append(self.pool(said[-1]))
        return self.read(torch.cat(said, dim=1)) + self.skip(made)


def test_the_layers_that_read_a_channel_all_count_and_as_often_as_they_do() -> None:
    torch.manual_seed(0)
    network, batch = Pyramid().double(), torch.randn(4, 3, 8, 8).double()
    evidence = evidence_of(network, batch)
    both = scores_of(evidence)["make"]
    found = {}
    for silent in ("skip", "read"):
        weight = network.get_parameter(f"{silent}.weight")
        kept = weight.detach().clone()
        weight.data.zero_()
        found[silent] = scores_of(evidence)["make"]
        weight.data.copy_(kept)
    first = both.min()
    assert found["skip"].gt(0).all() and found["read"].gt(0).all()
    assert first >= found["skip"].min() + found["read"].min() - 1e-6


def test_a_layer_that_reads_several_groups_is_measured_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.read = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 6, 1), nn.Conv2d(10, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.read(torch.cat((self.a(x).tanh(), self.b(x).relu()), dim=1))

    torch.manual_seed(0)
    evidence = evidence_of(Fork(), *torch.randn(2, 4, 3, 6, 6))
    inverted = []
    invert = reconstruction._inverse
    monkeypatch.setattr(
        reconstruction, "_inverse", lambda given: inverted.append(1) or invert(given)
    )
    together = scores_of(evidence)
    assert len(inverted) == 1
    monkeypatch.setattr(moments, "MEMORY_BYTES", 1)
    for name, scores in scores_of(evidence).items():
        assert scores.equal(together[name]), "in portions"


def test_scores_are_in_the_unit_of_the_outputs() -> None:
    """Twice the weights behind and in front: four times, and as much as they are."""
    torch.manual_seed(0)
    network, batch = one_reader().double(), torch.randn(8, 3, 9, 9).double()
    before = scores_of(evidence_of(network, batch))["0"]
    network[2].weight.data *= 2
    torch.testing.assert_close(scores_of(evidence_of(network, batch))["0"], 4 * before)


Build = Callable[[], nn.Module]


class Attention(nn.Module):
    """Queries and keys meet in a product: no weights read them."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(3, 6) for _ in range(3))
        self.out = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        weights = (self.query(x) @ self.key(x).transpose(-1, -2)).softmax(-1)
        return self.out(weights @ self.value(x))


def grouped() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.Tanh(), nn.Conv2d(8, 4, 3, groups=2))


def raised() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.Tanh(), nn.ConvTranspose2d(8, 4, 2, 2))


@pytest.mark.parametrize(
    ("build", "shape"),
    [(grouped, (4, 3, 6, 6)), (raised, (4, 3, 6, 6)), (Attention, (4, 5, 3))],
)
def test_channels_that_no_solvable_layer_reads_are_not_free(
    build: Build, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    scores = scores_of(evidence_of(build(), torch.randn(shape)))
    assert all(values.gt(0).all() for values in scores.values())


def test_what_cannot_be_solved_for_is_charged_the_change_of_the_outputs() -> None:
    """One output, 3 a - 2 b of constants 1 and 4 in two images of one pixel: squares 9 and 64."""
    network = nn.Sequential(
        nn.Conv2d(2, 2, 1, bias=False), nn.ReLU(), nn.ConvTranspose2d(2, 1, 1, bias=False)
    )
    network[0].weight.data = torch.eye(2)[..., None, None]
    network[2].weight.data = torch.tensor([3.0, -2.0]).view(2, 1, 1, 1)
    batch = torch.tensor([[1.0, 4.0], [1.0, 4.0]])[..., None, None]
    scores = [
        CRITERIA["reconstruction"](evidence.table.free_groups, replaced)["0"]
        for evidence in [evidence_of(network, batch)]
        for seed in range(200)
        for replaced in [Evidence(network, evidence.table, evidence.calibration, seed)]
    ]
    mean = torch.stack(scores).mean(0)
    torch.testing.assert_close(mean, torch.tensor([9.0, 64.0]), rtol=0.2, atol=0)


def test_without_images_it_says_so() -> None:
    network = one_reader()
    table = trace(network, torch.rand(1, 3, 4, 4))
    with pytest.raises(PruningError, match="criterion reconstruction: looks at images"):
        CRITERIA["reconstruction"](table.free_groups, Evidence(network, table))
