"""Layers solved anew: in closed form, then one by one, and the best of all that was tried."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.table import ChannelTable
from prunus.model.channels.trace import trace
from prunus.model.detector import Detector
from prunus.prune.evidence import Calibration, Observation
from prunus.prune.observe import moments
from prunus.prune.observe.observation import observe
from prunus.prune.repair import choose, judge, ridge, walk
from prunus.prune.repair.batch_norm import recalibrate
from prunus.prune.repair.choose import Repair, repair
from prunus.prune.repair.ridge import cut_layers, offset_of, set_layer_, solve, solve_from_dense_
from prunus.prune.repair.walk import Refit, walk_
from prunus.prune.surgery import remove

Randomise = Callable[[nn.Module], nn.Module]


def test_a_ridge_by_hand() -> None:
    """Variance 2 and covariance 6 ask for 3; a pull of 1 · 2 toward 1 gives (6 + 2) / (2 + 2)."""
    covariance, cross, prior = (torch.tensor([[value]]).double() for value in (2.0, 6.0, 1.0))
    assert solve(covariance, cross, prior, 0).item() == pytest.approx(3)
    assert solve(covariance, cross, prior, 1).item() == pytest.approx(2)


def test_no_ridge_is_least_squares_and_a_strong_one_changes_nothing() -> None:
    torch.manual_seed(0)
    inputs, wanted = torch.randn(50, 6).double(), torch.randn(50, 3).double()
    prior = torch.randn(3, 6).double()
    covariance, cross = inputs.T @ inputs / 50, inputs.T @ wanted / 50
    expected = torch.linalg.lstsq(inputs, wanted).solution.T
    torch.testing.assert_close(solve(covariance, cross, prior, 1e-12), expected)
    torch.testing.assert_close(solve(covariance, cross, prior, 1e9), prior)


def test_inputs_that_never_change_leave_the_weights() -> None:
    prior = torch.randn(2, 3).double()
    nothing = torch.zeros(3, 3).double()
    torch.testing.assert_close(solve(nothing, nothing[:, :2], prior, 1e-2), prior)


def readers(kind: str) -> list[nn.Module]:
    """Return what reads eight channels."""
    if kind == "linear":
        return [nn.AdaptiveAvgPool2d(3), nn.Flatten(2), Turn(), nn.Linear(8, 5)]
    if kind == "conv + bias":
        return [nn.Conv2d(8, 5, 3, padding=1)]
    return [nn.Conv2d(8, 5, 3, padding=1, bias=kind == "conv + bias + bn"), nn.BatchNorm2d(5)]


class Turn(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


class Doubled(nn.Sequential):
    """Eight channels, of which the last four say what the first four say."""

    def __init__(self, kind: str) -> None:
        super().__init__(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.SiLU(True), *readers(kind))

    def double_(self) -> "Doubled":
        for tensor in (*self[0].state_dict().values(), *self[1].state_dict().values()):
            if tensor.ndim:
                tensor[4:] = tensor[:4]
        return self


def doubled(kind: str, randomised: Randomise) -> tuple[Doubled, ChannelTable, Tensor, Calibration]:
    torch.manual_seed(0)
    network = Doubled(kind)
    randomised(network)
    network.double_().eval()
    batches = list(torch.randn(3, 4, 3, 8, 8))
    table = trace(network, batches[0])
    tags = next(group.tags[4:] for group in table.free_groups if len(group) == 8)
    return network, table, tags, Calibration(lambda: iter(batches), total=3)


kinds = pytest.mark.parametrize("kind", ["conv + bn", "conv + bias", "conv + bias + bn", "linear"])


@kinds
def test_channels_that_others_repeat_are_not_missed(
    kind: str, randomised: Randomise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ridge, "RIDGE", 1e-7)
    network, table, tags, calibration = doubled(kind, randomised)
    seen = observe(network, table, calibration)
    smaller = remove(network, table, tags)
    cuts = cut_layers(smaller, network, table, tags, seen)
    assert [len(cut.columns) for cut in cuts] == [cuts[0].layer.weight[0].numel()]
    solve_from_dense_(cuts, smaller, network, seen, 3)
    fresh = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert (remove(network, table, tags)(fresh) - network(fresh)).abs().max() > 0.1
        torch.testing.assert_close(smaller(fresh), network(fresh), rtol=1e-4, atol=1e-4)


@kinds
def test_offsets_land_where_the_layer_adds_them(kind: str, randomised: Randomise) -> None:
    """Twice in a row, so that what is there already is counted."""
    network, table, tags, calibration = doubled(kind, randomised)
    smaller = remove(network, table, tags).eval()
    (cut,) = cut_layers(smaller, network, table, tags, observe(network, table, calibration))
    assert offset_of(cut, smaller, network).tolist() == pytest.approx(
        [0.0] * 5 if cut.layer.bias is None else cut.dense.bias.tolist()
    )
    fresh = torch.randn(2, 3, 8, 8)
    scale = 1.0
    if cut.norm:
        norm = network[4]
        scale = (norm.weight / (norm.running_var + norm.eps).sqrt())[0].item()
    for wanted in (0.5, -0.25):
        with torch.no_grad():
            before = smaller(fresh)
            offset = offset_of(cut, smaller, network)
            offset[0] += wanted
            set_layer_(cut, cut.layer.weight.detach().double(), offset, smaller, network)
            rise = smaller(fresh) - before
        rise = rise[..., 0] if kind == "linear" else rise[:, 0]
        torch.testing.assert_close(rise, torch.full_like(rise, wanted * scale), rtol=1e-4, atol=0)
        torch.testing.assert_close(offset_of(cut, smaller, network), offset)


def test_rows_that_went_too_are_solved_without(randomised: Randomise) -> None:
    """The middle layer loses inputs and outputs; what is left of it is right nevertheless."""
    torch.manual_seed(0)
    network = nn.Sequential(Doubled("conv + bn"), nn.ReLU(), nn.Conv2d(5, 2, 1))
    randomised(network)
    network[0].double_()
    network.eval()
    batches = [torch.randn(4, 3, 8, 8)]
    table = trace(network, batches[0])
    eight, five = sorted(table.free_groups, key=len, reverse=True)[:2]
    tags = torch.cat((eight.tags[4:], five.tags[1:2]))
    seen = observe(network, table, Calibration(lambda: batches))
    smaller = remove(network, table, tags)
    cut, last = cut_layers(smaller, network, table, tags, seen)
    assert cut.rows.tolist() == [0, 2, 3, 4] and last.rows.tolist() == [0, 1]
    solve_from_dense_([cut], smaller, network, seen, 1)
    said, wanted = (part[0](batches[0]).detach() for part in (smaller, network))
    torch.testing.assert_close(said, wanted[:, [0, 2, 3, 4]], rtol=0.05, atol=0.05)


def test_a_layer_that_can_take_no_offset_stays_as_it_is() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1, bias=False)).eval()
    batch = torch.rand(2, 3, 4, 4)
    table = trace(network, batch)
    tags = table.free_groups[0].tags[:3]
    seen = observe(network, table, Calibration(lambda: [batch]))
    assert cut_layers(remove(network, table, tags), network, table, tags, seen) == []


def deep(randomised: Randomise) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((3, 12), (12, 12), (12, 12)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.SiLU(True)]
    return randomised(nn.Sequential(*layers, nn.Conv2d(12, 3, 1))).eval()  # type: ignore[return-value]


Case = tuple[nn.Module, nn.Module, ChannelTable, Tensor, Calibration, Observation]


@pytest.fixture
def case(randomised: Randomise) -> Case:
    """A network, itself without a quarter of its channels, and images that look alike."""
    network = deep(randomised)
    batches = list(torch.randn(8, 8, 3, 8, 8))
    table = trace(network, batches[0])
    tags = torch.cat([group.tags[::4] for group in table.free_groups])
    calibration = Calibration(lambda: iter(batches), total=len(batches))
    smaller = remove(network, table, tags)
    return network, smaller, table, tags, calibration, observe(network, table, calibration)


def test_one_portion_or_many_are_the_same(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    network, smaller, table, tags, _, seen = case
    solved = []
    for memory in (moments.MEMORY_BYTES, 1):
        monkeypatch.setattr(moments, "MEMORY_BYTES", memory)
        solved.append(copy.deepcopy(smaller))
        cuts = cut_layers(solved[-1], network, table, tags, seen)
        solve_from_dense_(cuts, solved[-1], network, seen, 8)
    assert [cut.path for cut in cuts] == ["3", "6", "9"]
    pairs = zip(solved[0].state_dict().values(), solved[1].state_dict().values(), strict=True)
    assert all(one.equal(other) for one, other in pairs)


def test_the_walk_changes_a_layer_only_where_held_out_errors_fall(case: Case) -> None:
    network, smaller, table, tags, _, seen = case
    walked = copy.deepcopy(smaller)
    refits = walk_(cut_layers(walked, network, table, tags, seen), walked, network, seen, 6)
    assert [refit.path for refit in refits] == ["3", "6", "9"]
    assert all(refit.kept and refit.after < refit.before for refit in refits)
    again = copy.deepcopy(walked)
    for refit in walk_(cut_layers(again, network, table, tags, seen), again, network, seen, 6):
        assert refit.before == pytest.approx(refits[0].after, rel=1e-4) or refit.path != "3"
    fresh = torch.randn(8, 3, 8, 8)
    with torch.no_grad():
        wanted = network(fresh)
        errors = [(each(fresh) - wanted).square().mean() for each in (smaller, walked)]
    assert errors[1] < errors[0] / 2


def test_the_walk_says_the_error_that_the_layer_has(case: Case) -> None:
    """By hand at the first layer: mean over outputs of squared errors by variance, held out."""
    network, smaller, table, tags, calibration, seen = case
    walked = copy.deepcopy(smaller)
    refit = walk_(cut_layers(walked, network, table, tags, seen)[:1], walked, network, seen, 6)[0]
    keep = cut_layers(smaller, network, table, tags, seen)[0].rows
    said: dict[str, list[Tensor]] = {"dense": [], "before": [], "after": []}
    for number, batch in enumerate(calibration.batches()):
        if number < 6:
            continue
        at = seen.layers["3"].places[number]
        networks = {"dense": network, "before": smaller, "after": walked}
        for name, each in networks.items():
            shift = network[4].running_mean[keep] - each[4].running_mean if name != "dense" else 0  # type: ignore[index]
            flat = each[:4](batch).detach().flatten(2).transpose(1, 2)  # type: ignore[index]
            picked = torch.cat([flat[i, at[i]] for i in range(len(batch))])
            said[name].append(picked[:, keep] if name == "dense" else picked + shift)
    dense = torch.cat(said["dense"])
    for name, error in (("before", refit.before), ("after", refit.after)):
        squared = (torch.cat(said[name]) - dense).square().mean(0)
        expected = (squared / dense.var(0, correction=0)).mean().item()
        assert error == pytest.approx(expected, rel=1e-3)


def test_a_layer_stays_as_it_is_where_a_refit_would_hurt(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fitted to one batch of noise that has nothing to do with what judges."""
    network, smaller, table, tags, calibration, _ = case
    batches = list(calibration.batches())
    batches[0] = batches[0] * 1e3
    other = Calibration(lambda: iter(batches), total=8)
    seen = observe(network, table, other)
    monkeypatch.setattr(walk, "RIDGES", (0.0,))
    walked = copy.deepcopy(smaller)
    refits = walk_(cut_layers(walked, network, table, tags, seen), walked, network, seen, 1)
    assert not any(refit.kept for refit in refits)
    pairs = zip(walked.state_dict().values(), smaller.state_dict().values(), strict=True)
    assert all(one.equal(own) for one, own in pairs)


def test_outputs_that_never_change_say_nothing_of_a_fit() -> None:
    """The second output is constant: only the first, half of whose variance is missed, counts."""
    zero, one = torch.zeros(1).double(), torch.ones(1, 1).double()
    regression = walk._Regression(
        zero, one, torch.tensor([[1.0, 0.0]]).double(), zero, torch.tensor([2.0, 0.0]).double()
    )
    weight = torch.tensor([[1.0], [1.0]]).double()
    assert regression.error(weight, torch.zeros(2).double()) == pytest.approx(0.5)


def test_the_best_of_all_steps_is_kept(case: Case) -> None:
    network, smaller, table, tags, calibration, seen = case
    state = copy.deepcopy(smaller.state_dict())
    best, outcome = repair(smaller, network, table, tags, calibration, "ridge", seen)
    assert list(outcome.errors) == ["as cut", "ridge", "walk", "batch norm"]
    assert outcome.kept == min(outcome.errors, key=outcome.errors.__getitem__) != "as cut"
    assert outcome.errors["ridge"] < outcome.errors["as cut"] / 2
    assert f"kept: {outcome.kept}" in outcome.summary() and "ridge 0." in outcome.summary()
    assert all(tensor.equal(state[name]) for name, tensor in smaller.state_dict().items())
    held_out = list(calibration.batches())[-1]
    with torch.no_grad():
        wanted, given = network(held_out), best(held_out)
    expected = (given - wanted).square().sum() / (wanted - wanted.mean()).square().sum()
    assert outcome.errors[outcome.kept] == pytest.approx(expected.item(), rel=1e-4)


def test_the_network_stays_as_cut_where_all_repairs_hurt(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil_(network: nn.Module) -> None:
        network[-1].bias.data += 100  # type: ignore[index,union-attr]

    def spoilt(network: nn.Module, _images: object) -> nn.Module:
        other = copy.deepcopy(network)
        other[-1].weight.data.fill_(torch.nan)  # type: ignore[index,union-attr]
        return other

    network, smaller, table, tags, calibration, seen = case
    monkeypatch.setattr(choose, "solve_from_dense_", lambda _cuts, solved, *_: spoil_(solved))
    monkeypatch.setattr(choose, "walk_", lambda _cuts, walked, *_: spoil_(walked) or ())
    monkeypatch.setattr(choose, "recalibrate", spoilt)
    best, outcome = repair(smaller, network, table, tags, calibration, "ridge", seen)
    assert best is smaller and outcome.kept == "as cut"
    assert outcome.errors["batch norm"] == float("inf")
    assert outcome.errors["walk"] > outcome.errors["ridge"] > outcome.errors["as cut"]


def test_statistics_are_kept_only_where_they_help(case: Case) -> None:
    network, _, table, tags, calibration, _ = case
    dense = recalibrate(network, calibration.batches())
    wrong = copy.deepcopy(dense)
    wrong[1].running_mean += 5  # type: ignore[index,operator]
    for wanted, given in (("batch norm", wrong), ("as cut", copy.deepcopy(dense))):
        best, outcome = repair(given, dense, table, tags, calibration, "bn")
        assert outcome.kept == wanted and list(outcome.errors) == ["as cut", "batch norm"]
        assert (best is given) == (wanted == "as cut")


def test_a_network_without_batch_norm_has_no_statistics() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    batches = list(torch.rand(2, 2, 3, 4, 4))
    table = trace(network, batches[0])
    tags = table.free_groups[0].tags[:3]
    smaller = remove(network, table, tags)
    _, outcome = repair(smaller, network, table, tags, Calibration(lambda: batches), "ridge")
    assert list(outcome.errors) == ["as cut", "ridge", "walk"], "observed on the way"


def test_a_single_batch_is_fitted_to_and_judged_by(case: Case) -> None:
    network, smaller, table, tags, calibration, _ = case
    first = next(iter(calibration.batches()))
    single = Calibration(lambda: iter([first]), total=1)
    best, outcome = repair(smaller, network, table, tags, single, "ridge")
    assert list(outcome.errors) == ["as cut", "ridge", "batch norm"] and outcome.layers == ()
    assert outcome.kept == "ridge" and best is not smaller


def test_judges_are_the_last_of_the_images(case: Case) -> None:
    """Of 17 batches two judge; no repair sees them, statistics included."""
    network, smaller, table, tags, calibration, _ = case
    start = [*calibration.batches(), *calibration.batches()]
    pulled: list[int] = []

    def batches() -> Iterator[Tensor]:
        for number, batch in enumerate([*start, start[0] * 0]):
            pulled.append(number)
            yield batch

    _, outcome = repair(smaller, network, table, tags, Calibration(batches, total=17), "bn")
    seen_by_statistics = pulled[17 * 2 : 17 * 2 + 15]
    assert seen_by_statistics == list(range(15))
    assert pulled[17 * 2 + 15] == 0, "the judges were not asked for"
    assert outcome.errors


@pytest.mark.parametrize(("allowed", "runs"), [(1 << 30, 1), (0, 1 + 2)])
def test_the_dense_network_judges_once_where_memory_allows(
    case: Case, allowed: int, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch judges two candidates; without memory the first try is thrown away."""
    network, smaller, table, tags, calibration, _ = case
    _, expected = repair(smaller, network, table, tags, calibration, "bn")
    monkeypatch.setattr(judge, "KEPT_BYTES", allowed)
    ran: list[object] = []
    network.register_forward_hook(lambda *_: ran.append(""))
    _, outcome = repair(smaller, network, table, tags, calibration, "bn")
    assert len(ran) == runs
    assert outcome.errors == expected.errors


def test_batches_are_counted_only_if_nobody_knows_how_many_there_are(case: Case) -> None:
    network, smaller, table, tags, calibration, seen = case

    def starts(total: int | None, observation: Observation | None) -> int:
        started: list[object] = []
        images = Calibration(lambda: started.append("") or calibration.batches(), total=total)
        repair(smaller, network, table, tags, images, "bn", observation)
        return len(started)

    known = starts(8, None)
    assert starts(None, seen) == known
    assert starts(None, None) == known + 1


def test_without_images_nothing_can_be_repaired(case: Case) -> None:
    network, smaller, table, tags, _, _ = case
    with pytest.raises(PruningError, match="there are no images"):
        repair(smaller, network, table, tags, Calibration(list), "ridge")


def test_a_repaired_detector_is_nearer_to_the_dense_one(
    nano: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "RIDGES", (0.1,))
    torch.manual_seed(0)
    nano.eval()
    batches = list(torch.rand(3, 2, 3, 64, 64))
    table = trace(nano, batches[0])
    tags = torch.cat([group.tags[: len(group) // 4] for group in table.free_groups])
    smaller = remove(nano, table, tags)
    calibration = Calibration(lambda: iter(batches), total=3)
    best, outcome = repair(smaller, nano, table, tags, calibration, "ridge")
    assert isinstance(outcome, Repair) and all(isinstance(one, Refit) for one in outcome.layers)
    assert min(outcome.errors.values()) < outcome.errors["as cut"] / 2
    assert best.state_dict().keys() == smaller.state_dict().keys()
