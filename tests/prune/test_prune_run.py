"""The `prune` verb in memory: on detectors, and on networks that are not ours."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.trace import trace
from prunus.model.cost import count_flops, count_parameters
from prunus.model.detector import Detector
from prunus.prune.costs import params_costs
from prunus.prune.criteria import CRITERIA
from prunus.prune.detectors import probe, row_paths, weigh_candidates
from prunus.prune.evidence import Calibration
from prunus.prune.plan import apply_plan
from prunus.prune.run import Pricing, PruneResult, preview, prune
from prunus.weights.files import load_weights
from prunus.weights.native import save_weights


def pruned(detector: Detector, **settings: object) -> PruneResult:
    return prune(detector, probe(detector), **settings)  # type: ignore[arg-type]


def noise(batches: int = 3) -> Calibration:
    images = list(torch.rand(batches, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    return Calibration(lambda: iter(images), weigh=weigh_candidates, total=batches)


@pytest.mark.parametrize("criterion", ["bn_scale", "l1"])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_half_of_the_channels_go(nano: Detector, criterion: str, scope: str) -> None:
    result = pruned(nano, criterion=criterion, percent=0.5, scope=scope)
    assert result.selection.achieved == pytest.approx(0.5, abs=0.04)
    assert result.error < 1e-12 and result.pinned == {}
    assert count_parameters(result.model) < 0.5 * count_parameters(nano)
    assert not result.fold.skipped and result.repair is None
    for width in result.selection.widths:
        assert width.after >= 8 and (width.after % 8 == 0 or width.after == width.before)
    maps = result.model.eval()(torch.rand(1, 3, 64, 64))
    assert [tuple(level.shape) for level in maps] == [(1, 3, s, s, 8) for s in (8, 4, 2)]


@pytest.mark.parametrize(("budget", "count"), [("params", count_parameters), ("flops", None)])
def test_a_share_is_kept(
    nano: Detector, budget: str, count: Callable[[nn.Module], int] | None
) -> None:
    result = pruned(nano, **{budget: 0.7})
    count = count or count_flops  # type: ignore[assignment]
    assert count(result.model) / count(nano) == pytest.approx(0.7, abs=0.03)  # type: ignore[misc]


def test_a_price_list_stands_for_milliseconds(nano: Detector) -> None:
    pricing = Pricing(lambda table: params_costs(nano, table))
    result = pruned(nano, latency_ms=0.7 * count_parameters(nano), pricing=pricing)
    assert count_parameters(result.model) == pytest.approx(0.7 * count_parameters(nano), rel=0.05)
    with pytest.raises(PruningError, match="latency_ms: needs `pricing`"):
        pruned(nano, latency_ms=5.0)


@pytest.mark.parametrize("budgets", [{}, {"percent": 0.3, "flops": 0.5}])
def test_exactly_one_budget_is_given(nano: Detector, budgets: dict[str, float]) -> None:
    got = ", ".join(budgets) or "none"
    with pytest.raises(PruningError, match=rf"budget: give exactly one of .* got {got}\."):
        pruned(nano, **budgets)


def test_the_table_shows_every_layer_and_why(nano: Detector) -> None:
    lines = pruned(nano, percent=0.6).table().splitlines()
    assert "of the channels removed (60.0%" in lines[0]
    assert any("model.24.m.0" in line and "an output of the model" in line for line in lines)
    assert any("model.4.cv1.conv+model.4.m.0.cv2.conv" in line for line in lines)


def test_the_network_is_left_alone(nano: Detector) -> None:
    state = copy.deepcopy(nano.state_dict())
    nano.train()
    pruned(nano, percent=0.3, calibration=noise(1), repair="bn", criterion="l2")
    assert nano.training
    assert all(tensor.equal(state[name]) for name, tensor in nano.state_dict().items())


def test_in_place_the_network_itself_gets_smaller(nano: Detector) -> None:
    copied = pruned(nano, percent=0.3).model
    result = pruned(nano, percent=0.3, in_place=True)
    assert result.model is nano
    states = nano.state_dict(), copied.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(tensor.equal(states[1][name]) for name, tensor in states[0].items())


def test_resting_parameters_change_nothing(nano: Detector) -> None:
    learning = pruned(nano, percent=0.3).model.state_dict()
    resting = pruned(nano.requires_grad_(False), percent=0.3).model.state_dict()
    assert all(tensor.equal(resting[name]) for name, tensor in learning.items())


def test_nothing_removed_is_an_error(nano: Detector) -> None:
    with pytest.raises(PruningError, match=r"nothing was removed: 1\.0% of the channels .*"):
        pruned(nano, percent=0.01, round_to=512)


def test_even_where_all_gammas_of_a_layer_are_zero_it_keeps_channels(nano: Detector) -> None:
    nano.model[3].bn.weight.data.zero_()
    result = pruned(nano, percent=0.5, criterion="bn_scale")
    assert result.model.get_submodule("model.3.conv").out_channels == 8
    assert "model.3.conv" in {width.name for width in result.selection.clamped}


def test_kept_rows_keep_their_widths(nano: Detector) -> None:
    result = pruned(nano, percent=0.5, keep=row_paths(nano, range(10)))
    for width in result.selection.widths:
        row = int(width.name.split(".")[1])
        assert (width.after == width.before) == (row < 10 or row == 24), width


def test_a_row_that_is_not_there_is_named(nano: Detector) -> None:
    with pytest.raises(PruningError, match="keep: no row 25; the detector has rows 0 to 24"):
        row_paths(nano, [3, 25])


def test_an_unknown_criterion_is_answered_with_the_nearest(nano: Detector) -> None:
    with pytest.raises(
        PruningError, match=r"--criterion: no criterion 'bn_scal'\. Did you mean 'bn_scale'"
    ):
        pruned(nano, percent=0.5, criterion="bn_scal")


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("criterion", ["bn_scale", "l2"])
@pytest.mark.parametrize("tensor", ["weight", "running_var"])
def test_a_damaged_file_is_said_to_be_damaged(
    nano: Detector, tensor: str, criterion: str, calibrated: bool
) -> None:
    getattr(nano.model[3].bn, tensor).data[5] = float("nan")
    calibration = noise(1) if calibrated else None
    with pytest.raises(PruningError, match=rf"model\.3\.bn\.{tensor}: .* The file is damaged"):
        pruned(nano, percent=0.5, criterion=criterion, calibration=calibration)


def test_the_default_criterion_looks_at_images_if_there_are_some(
    nano: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    by_chance = CRITERIA["random"]
    for name in CRITERIA:
        monkeypatch.setitem(CRITERIA, name, lambda *g, n=name: asked.append(n) or by_chance(*g))
    pruned(nano, percent=0.3)
    pruned(nano, percent=0.3, calibration=noise(1), repair="none")
    assert asked == ["l2", "reconstruction"]


@pytest.mark.parametrize("settings", [{"percent": 0.3}, {"flops": 0.7, "scope": "layer"}])
def test_a_preview_says_what_would_go(nano: Detector, settings: dict[str, object]) -> None:
    told = preview(nano, probe(nano), **settings).selection
    assert told.widths == pruned(nano, **settings).selection.widths


def test_a_preview_looks_at_images_for_its_criterion_only(nano: Detector) -> None:
    started: list[str] = []
    images = noise(1)
    calibration = Calibration(lambda: started.append("") or images.batches(), total=1)
    asked = {"percent": 0.3, "calibration": calibration, "repair": "ridge"}
    preview(nano, probe(nano), **asked, criterion="l2")
    assert not started
    preview(nano, probe(nano), **asked, criterion="activation")
    assert len(started) == 1, "what the repair would need is not looked for"


def test_a_preview_refuses_what_prune_refuses(nano: Detector) -> None:
    with pytest.raises(PruningError, match=r"budget: give exactly one of .* got none\."):
        preview(nano, probe(nano))
    with pytest.raises(TypeError, match="unexpected keyword argument 'percnt'"):
        preview(nano, probe(nano), percnt=0.3)
    nano.model[3].bn.weight.data[5] = float("nan")
    with pytest.raises(PruningError, match=r"model\.3\.bn\.weight: .* The file is damaged"):
        preview(nano, probe(nano), percent=0.3)


@pytest.mark.parametrize("method", ["none", "bn"])
def test_repairs_are_made_as_asked(nano: Detector, method: str) -> None:
    result = pruned(nano, percent=0.3, criterion="l2", calibration=noise(), repair=method)
    if method == "none":
        assert result.repair is None
    else:
        assert result.repair is not None and list(result.repair.errors) == ["as cut", "batch norm"]


def test_a_plan_makes_the_same_cut_again(nano: Detector) -> None:
    fresh = copy.deepcopy(nano)
    result = pruned(nano, flops=0.8)
    again = apply_plan(result.plan, fresh)
    again.load_state_dict(result.model.state_dict())
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for one, other in zip(again.eval()(image), result.model.eval()(image), strict=True):
            assert one.equal(other)


def test_a_pruned_detector_survives_the_file_and_a_second_pruning(
    nano: Detector, tmp_path: Path
) -> None:
    small = pruned(nano, percent=0.5).model.eval()
    assert isinstance(small, Detector)
    save_weights(small, tmp_path / "small.safetensors")
    loaded = load_weights(tmp_path / "small.safetensors").detector.eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for one, other in zip(small(image), loaded(image), strict=True):
            torch.testing.assert_close(one, other)
    assert count_parameters(pruned(loaded, percent=0.3).model) < count_parameters(small)


class TwoInputs(nn.Module):
    """Not a detector: named inputs, a dictionary of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.picture = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.SiLU())
        self.number = nn.Linear(4, 32)
        self.head = nn.Conv2d(32, 5, 1)

    def forward(self, picture: Tensor, number: Tensor) -> dict[str, Tensor]:
        return {"map": self.head(self.picture(picture) + self.number(number)[..., None, None])}


def test_any_network_is_pruned_and_repaired(randomised: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(0)
    network = randomised(TwoInputs())
    batches = [{"picture": torch.randn(8, 3, 6, 6), "number": torch.randn(8, 4)} for _ in range(4)]
    calibration = Calibration(lambda: iter(batches), total=4)
    result = prune(network, batches[0], percent=0.5, calibration=calibration)
    assert trace(result.model, batches[0]).free_groups[0].tags.shape == (16,)
    assert result.repair is not None and [one.path for one in result.repair.layers] == ["head"]
    assert result.repair.errors[result.repair.kept] < result.repair.errors["as cut"]
