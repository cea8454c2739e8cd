"""Two convolutions of one: directions, ranks, and whole detectors."""

from collections.abc import Sequence
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from prunus.core.config import parse
from prunus.core.errors import ConfigError, PruningError
from prunus.model.cost import count_flops, flops_by_layer
from prunus.model.detector import Detector
from prunus.model.factors import FactorisedConv
from prunus.prune.detectors import probe, weigh_candidates
from prunus.prune.evidence import Calibration
from prunus.prune.low_rank.bases import Basis, basis_of_outputs, basis_of_weight
from prunus.prune.low_rank.config import DEFAULT_ENERGY, FactorizeConfig
from prunus.prune.low_rank.pairs import with_pairs
from prunus.prune.low_rank.ranks import Candidate, by_budget, by_energy, by_share
from prunus.prune.low_rank.run import factorise
from prunus.prune.run import prune

ROW = "model.3.conv"


def ones(count: int) -> Tensor:
    return torch.ones(count)


def approximation(basis: Basis, rank: int) -> Tensor:
    """The (O, O) map from outputs to what a pair leaves of them."""
    return basis.back[:, :rank] @ basis.into[:rank]


def calibration(seed: int = 0, batches: int = 4) -> Calibration:
    generator = torch.Generator().manual_seed(seed)
    images = [torch.rand(4, 3, 64, 64, generator=generator) for _ in range(batches)]
    return Calibration(
        lambda: [image.clone() for image in images], weigh=weigh_candidates, total=batches
    )


# directions


def test_directions_of_a_weight_by_hand() -> None:
    weight = torch.tensor([[3.0, 0.0], [0.0, 4.0]]).view(2, 2, 1, 1)
    basis = basis_of_weight(weight, ones(2), torch.tensor([7.0, 5.0]))
    assert basis.mean.tolist() == pytest.approx([7.0, 5.0])
    able = basis_of_weight(weight * torch.tensor([1.0, 0.0]).view(2, 1, 1, 1), ones(2), ones(2))
    assert able.mean.tolist() == pytest.approx([1.0, 0.0]), "the second puts out nothing"
    torch.testing.assert_close(basis.energy, torch.tensor([16 / 25, 9 / 25]).double())
    torch.testing.assert_close(
        approximation(basis, 1), torch.diag(torch.tensor([0.0, 1.0])).double()
    )
    assert basis.lost_share(1) == pytest.approx(9 / 25)
    # where the first output counts ten times, it is the one that is kept: 10 * 9 against 16
    heavy = basis_of_weight(weight, torch.tensor([10.0, 1.0]))
    torch.testing.assert_close(
        approximation(heavy, 1), torch.diag(torch.tensor([1.0, 0.0])).double()
    )


def test_directions_of_outputs_by_hand() -> None:
    said = torch.tensor([[1.0, 0.0], [3.0, 0.0], [2.0, 0.5], [2.0, -0.5]])  # variances 0.5, 0.125
    basis = basis_of_outputs([said[:3], said[3:]], ones(2), full_rank=2)
    torch.testing.assert_close(basis.energy, torch.tensor([0.5, 0.125]).double())
    torch.testing.assert_close(basis.mean, torch.tensor([2.0, 0.0]).double())
    torch.testing.assert_close(
        approximation(basis, 1), torch.diag(torch.tensor([1.0, 0.0])).double()
    )


@pytest.mark.parametrize("matter", [ones(6), torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])])
@pytest.mark.parametrize("shape", [(6, 5, 3, 3), (6, 4, 1, 1)])
def test_a_full_rank_loses_nothing(shape: tuple[int, ...], matter: Tensor) -> None:
    torch.manual_seed(0)
    weight = torch.randn(shape)
    patch = weight.flatten(1)
    said = torch.randn(200, patch.shape[1]) @ patch.T
    full = min(patch.shape)
    for basis in (basis_of_weight(weight, matter), basis_of_outputs([said], matter, full)):
        assert basis.full_rank == full
        torch.testing.assert_close(basis.into @ basis.back, torch.eye(full).double())
        rebuilt = approximation(basis, full) @ patch.double()
        torch.testing.assert_close(rebuilt, patch.double(), atol=1e-5, rtol=1e-5)
        assert basis.lost(full) == 0
        lost = [basis.lost(rank) for rank in range(full + 1)]
        assert lost == sorted(lost, reverse=True)


@pytest.mark.parametrize("rank", [1, 3])
def test_no_other_directions_lose_less_of_the_outputs(rank: int) -> None:
    """Against the weight's own directions, and a thousand drawn at random."""
    torch.manual_seed(1)
    weight, mix = torch.randn(5, 4, 1, 1), torch.randn(4, 4)
    said = torch.randn(500, 4) @ mix @ weight.flatten(1).T
    basis = basis_of_outputs([said], ones(5), 4)
    centred = (said - said.mean(0)).double()

    def error(of: Basis) -> float:
        return float((centred - centred @ approximation(of, rank).T).square().sum() / len(said))

    assert error(basis) == pytest.approx(basis.lost(rank))
    assert error(basis) <= error(basis_of_weight(weight, ones(5))) + 1e-9
    for _ in range(1000):
        q = torch.linalg.qr(torch.randn(5, 5)).Q.double()
        assert error(basis) <= error(Basis(q.T, q, basis.energy, basis.mean)) + 1e-9


# ranks


def candidate(energy: Sequence[float], shape: tuple[int, ...], flops: int = 10_000) -> Candidate:
    values, outputs = torch.tensor(energy, dtype=torch.float64), shape[0]
    eye = torch.eye(outputs).double()[:, : len(energy)]
    return Candidate(shape, flops, Basis(eye.T, eye, values, torch.zeros(outputs).double()))


def test_the_cost_of_a_pair_by_hand() -> None:
    found = candidate([1.0] * 10, (10, 10, 3, 3), flops=900 * 7)  # at 7 places
    assert found.flops_at(3) == 7 * (90 * 3 + 3 * 10)
    assert [rank for rank in range(1, 11) if found.saves(rank)] == list(range(1, 9))
    square = candidate([1.0] * 10, (10, 10, 1, 1), flops=100)
    assert [rank for rank in range(1, 11) if square.saves(rank)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("share", "round_to", "rank"),
    [(0.5, 1, 5), (0.5, 4, 4), (0.01, 4, 4), (0.9, 8, 8), (0.1, 16, 10)],
)
def test_ranks_by_share(share: float, round_to: int, rank: int) -> None:
    assert by_share(candidate([1.0] * 10, (10, 10, 3, 3)), share, round_to) == rank


@pytest.mark.parametrize(
    ("energy", "round_to", "rank"),
    [(0.5, 1, 1), (0.8, 1, 2), (0.81, 1, 3), (0.95, 1, 4), (0.81, 2, 4), (0.999, 8, 4)],
)
def test_ranks_by_energy(energy: float, round_to: int, rank: int) -> None:
    found = candidate([0.5, 0.3, 0.1, 0.1], (4, 9, 3, 3))
    assert by_energy(found, energy, round_to) == rank


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("goal", [0.9, 0.8, 0.7, 0.5])
def test_a_budget_is_kept_and_loses_as_little_as_it_can(goal: float, kernel: int) -> None:
    """Against every combination of ranks: none that saves as much loses less.

    Of a 1x1 layer the first rank that saves anything loses much, and the next ones little more.
    """
    torch.manual_seed(3)
    energies = [torch.rand(6).square().sort(descending=True).values.tolist() for _ in range(3)]
    energies[0] = [0.3] * 6
    found = {
        name: candidate(energy, (6, 4 + number, kernel, kernel), flops=1000 * (number + 1))
        for number, (name, energy) in enumerate(zip("abc", energies, strict=True))
    }
    ranks = by_budget(found, 6000, goal, 1)

    def outcome(chosen: dict[str, int]) -> tuple[float, float]:
        cost = sum(c.flops_at(chosen[n]) if n in chosen else c.flops for n, c in found.items())
        return cost, sum(found[name].basis.lost(rank) for name, rank in chosen.items())

    cost, lost = outcome(ranks)
    assert cost <= goal * 6000
    options = [[*range(1, 6), None] for _ in found]
    for several in product(*options):
        other = {n: r for n, r in zip(found, several, strict=True) if r is not None}
        if outcome(other)[0] <= cost:
            assert outcome(other)[1] >= lost - 1e-9


def test_a_steep_first_step_is_seen_together_with_the_next() -> None:
    """By hand: `a` loses 1.2 for its first 300 operations and 0.3 for the next 300; `b` loses 0.003
    for each of its 600 or more: 2.2 in all."""
    found = {
        "a": candidate([0.3] * 6, (6, 6, 1, 1), flops=900),
        "b": candidate([0.5] * 5 + [0.2], (6, 6, 3, 3), flops=900),
    }
    assert by_budget(found, 1800, 2 / 3, 1) == {"a": 1}


def test_a_budget_out_of_reach_is_said() -> None:
    found = {"a": candidate([1.0] * 8, (8, 8, 3, 3), flops=100)}
    with pytest.raises(PruningError, match=r"--flops 0\.1: at the lowest ranks 0\.914 of the oper"):
        by_budget(found, 1000, 0.1, 1)


# pairs and detectors


def test_at_full_rank_a_detector_computes_the_same(nano: Detector) -> None:
    nano.eval()
    conv, norm = nano.get_submodule(ROW), nano.model[3].bn
    basis = basis_of_weight(conv.weight, norm.weight.square(), norm.running_mean)  # type: ignore[arg-type, union-attr]
    model = with_pairs(nano, {ROW: (basis, 64)})
    pair = model.model[3].conv
    assert isinstance(pair, FactorisedConv) and isinstance(nano.model[3].conv, nn.Conv2d)
    sizes = pair.narrow.weight.flatten(1).norm(dim=1), pair.widen.weight.flatten(1).norm(dim=0)
    torch.testing.assert_close(*sizes, rtol=1e-3, atol=1e-5)
    image = torch.rand(1, 3, 64, 64)
    for one, other in zip(model(image), nano(image), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_the_mean_of_the_outputs_stays(nano: Detector) -> None:
    """What is lost is zero on average, so that all behind the batch norm sees no drift."""
    nano.eval()
    image = torch.rand(4, 3, 64, 64)

    def heard(model: Detector, path: str) -> Tensor:
        said: list[Tensor] = []
        module = model.get_submodule(path)
        hook = module.register_forward_hook(lambda _m, _i, out: said.append(out.clone()))
        with torch.no_grad():
            model(image)
        hook.remove()
        return said[0].transpose(0, 1).flatten(1).T  # (places, O)

    basis = basis_of_outputs([heard(nano, ROW)], ones(64), 64)
    model = with_pairs(nano, {ROW: (basis, 8)})
    dense, paired = heard(nano, "model.3.bn"), heard(model, "model.3.bn")
    torch.testing.assert_close(paired.mean(0), dense.mean(0), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(paired, dense, atol=1e-2), "much is lost at rank 8"
    lost = (heard(model, ROW) - heard(nano, ROW)).var(dim=0, correction=0).sum()
    assert float(lost) == pytest.approx(basis.lost(8), rel=1e-3)


def test_a_dead_direction_makes_no_infinite_weights(nano: Detector) -> None:
    nano.model[3].conv.weight.data[:, 1:] = 0  # rank 9 of 64
    made = factorise(nano.eval(), rank=0.5, rows=(3,))
    assert all(parameter.isfinite().all() for parameter in made.model.parameters())
    assert made.layers[0].error == pytest.approx(0, abs=1e-9)
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(made.model(image)[0], nano(image)[0], rtol=1e-3, atol=1e-4)


def test_images_keep_the_outputs_better_than_weights_alone(nano: Detector) -> None:
    nano.eval()
    images = calibration()
    seen = factorise(nano, rank=0.25, rows=(3, 5), calibration=images)
    blind = factorise(nano, rank=0.25, rows=(3, 5))
    batches = list(calibration(seed=9).batches())

    def error(model: Detector) -> float:
        with torch.no_grad():
            return sum(float((model(b)[0] - nano(b)[0]).square().sum()) for b in batches)

    assert error(seen.model) < error(blind.model)
    assert seen.kept in seen.errors
    assert seen.errors[seen.kept] == min(seen.errors.values())
    assert not blind.errors


def test_what_saves_nothing_stays_and_is_told(nano: Detector) -> None:
    made = factorise(nano, rank=0.5, rows=(2, 3))
    told = {layer.name: layer for layer in made.layers}
    stays = told["model.2.cv3.conv"]
    assert (stays.rank, stays.flops_after) == (32, stays.flops_before)
    assert stays.note == "stays: two would have no fewer operations"
    assert isinstance(made.model.get_submodule("model.2.cv3.conv"), nn.Conv2d)
    pair = told[ROW]
    assert (pair.full_rank, pair.rank, pair.note) == (64, 32, "")
    counts = flops_by_layer(made.model)
    assert counts[f"{ROW}.narrow"] + counts[f"{ROW}.widen"] == pair.flops_after
    lines = made.table().splitlines()
    assert any(ROW in line and " 32 " in line for line in lines)
    assert any("two would have no fewer operations" in line for line in lines)


def test_a_share_of_the_operations_is_kept(nano: Detector) -> None:
    made = factorise(nano, flops=0.8)
    assert 0.75 < count_flops(made.model) / count_flops(nano) <= 0.8
    notes = {layer.note for layer in made.layers}
    assert "stays: the budget is met without it" in notes
    saved = sum(layer.flops_before - layer.flops_after for layer in made.layers)
    assert saved == count_flops(nano) - count_flops(made.model)


def test_the_widest_layers_are_those_of_the_most_weights(nano: Detector) -> None:
    names = [layer.name for layer in factorise(nano, rank=0.5, widest=3).layers]
    sizes = {
        name: module.weight.numel()
        for name, module in nano.named_modules()
        if isinstance(module, nn.Conv2d) and ".24." not in name
    }
    assert set(names) == set(sorted(sizes, key=lambda name: -sizes[name])[:3])


def test_pairs_are_left_alone_and_can_be_pruned(nano: Detector) -> None:
    made = factorise(nano, rank=0.5).model
    again = factorise(made, rank=0.25, rows=(2,))
    assert all("narrow" not in layer.name for layer in again.layers)
    with pytest.raises(PruningError, match=r"no convolution that could become two: they are pairs"):
        factorise(made, rank=0.5, rows=(3,))
    result = prune(made, probe(made), flops=0.7, criterion="l2")
    assert result.error < 1e-4
    assert any(width.name.endswith("narrow") for width in result.selection.widths)
    repaired = prune(made, probe(made), flops=0.8, calibration=calibration())
    assert repaired.repair is not None
    assert repaired.repair.errors[repaired.repair.kept] == min(repaired.repair.errors.values())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "give one of --rank, --energy and --flops"),
        ({"rank": 0.5, "flops": 0.5}, "give one of --rank, --energy and --flops"),
        ({"rank": 0.5, "rows": (99,)}, "no row 99; the detector has rows 0 to 24"),
        ({"rank": 0.5, "rows": (11,)}, "no convolution that could become two"),
        ({"rank": 0.99, "rows": (3,)}, "no layer would have fewer operations as two"),
        ({"flops": 0.05}, r"--flops 0\.05: at the lowest ranks 0\.\d+ of the operations are left"),
    ],
)
def test_what_cannot_be_is_said(values: dict[str, object], words: str, nano: Detector) -> None:
    with pytest.raises(PruningError, match=words):
        factorise(nano, **values)  # type: ignore[arg-type]


def test_settings_have_one_goal() -> None:
    assert parse(FactorizeConfig, {"weights": "w.pt"}).kept_energy == DEFAULT_ENERGY
    assert parse(FactorizeConfig, {"weights": "w.pt", "rank": 50}).kept_energy is None
    assert parse(FactorizeConfig, {"weights": "w.pt", "energy": 0.9}).kept_energy == 0.9
    with pytest.raises(ConfigError, match="give one goal, not --rank and --flops"):
        parse(FactorizeConfig, {"weights": "w.pt", "rank": 0.5, "flops": 0.5})
