"""Which gammas are pulled on, and what a cut of them would leave."""

import logging
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from prunus.core.records import Batch
from prunus.model.channels.trace import trace
from prunus.model.cost import count_flops, count_parameters
from prunus.model.detector import Detector
from prunus.train.cuts import CutMonitor
from prunus.train.engine import Engine
from prunus.train.forecast import LEAST_CHANNELS, Forecaster, channel_scores
from prunus.train.gammas import STAYS, Gammas, prunable_gammas


def sizes_of(gammas: Gammas) -> dict[str, torch.Tensor]:
    return {name: norm.weight.detach().abs() for name, norm in gammas.norms.items()}


@pytest.fixture
def varied(nano: Detector) -> tuple[Detector, Gammas]:
    gammas = prunable_gammas(nano, ())
    for norm in gammas.norms.values():
        nn.init.uniform_(norm.weight, 0.01, 1)
    return nano, gammas


def test_only_what_is_tied_shares_a_channel(nano: Detector) -> None:
    channels = prunable_gammas(nano, ()).channels
    tied = [f"model.4.{name}.bn" for name in ("cv1", "m.0.cv2", "m.1.cv2")]
    assert channels[tied[0]].equal(channels[tied[1]])
    assert channels[tied[0]].equal(channels[tied[2]])
    others = torch.cat([tags for name, tags in channels.items() if name not in tied])
    assert not set(channels[tied[0]].tolist()) & set(others.tolist())
    assert all((tags != STAYS).all() for tags in channels.values()), "nothing is left out"
    every = set(torch.cat(list(channels.values())).tolist())
    assert every == set(range(prunable_gammas(nano, ()).count))


def test_gammas_that_do_not_learn_are_left_out(nano: Detector) -> None:
    before = prunable_gammas(nano, ()).norms
    for parameter in nano.model[6].m[0].parameters():  # type: ignore[union-attr, index]
        parameter.requires_grad_(False)
    after = prunable_gammas(nano, ()).norms
    gone = set(before) - set(after)
    assert gone == {"model.6.m.0.cv1.bn", "model.6.m.0.cv2.bn"}


def test_a_channel_scores_the_mean_of_its_gammas() -> None:
    gammas = Gammas(
        {"a": nn.BatchNorm2d(2), "b": nn.BatchNorm2d(3)},
        {"a": torch.tensor([0, 1]), "b": torch.tensor([0, STAYS, 2])},
    )
    values = {"a": torch.tensor([0.5, -2.0]), "b": torch.tensor([0.1, 9.0, 3.0])}
    torch.testing.assert_close(channel_scores(gammas, values), torch.tensor([0.3, 2.0, 3.0]))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_the_forecast_agrees_with_a_network_built_that_narrow(
    varied: tuple[Detector, Gammas], share: float
) -> None:
    """The reference: every tensor cut by the traced table, and the narrow network counted."""
    detector, gammas = varied
    table = trace(detector, torch.zeros(1, 3, 64, 64))
    forecaster = Forecaster(detector, gammas, table)
    remains = forecaster.remains(sizes_of(gammas), share)
    assert int(remains.removed.sum()) == round(share * gammas.count)
    parameters, flops = count_parameters(detector), count_flops(detector)
    _cut_(detector, gammas, remains.removed)
    assert remains.parameters == pytest.approx(count_parameters(detector) / parameters, rel=1e-6)
    assert remains.flops == pytest.approx(count_flops(detector) / flops, rel=1e-6)


def _cut_(detector: Detector, gammas: Gammas, removed: torch.Tensor) -> None:
    """Make the network narrow, layer by layer, without the forecast's own arithmetic."""
    table = trace(detector, torch.zeros(1, 3, 64, 64))
    kept: dict[tuple[str, int], torch.Tensor] = {}
    for group in table.free_groups:
        slot = group.slots_of("scale")[0]
        gone = torch.zeros(len(group), dtype=torch.bool)
        gone[slot.channel_of] = removed[gammas.channels[slot.module]]
        for slot in group.slots:
            mask = (slot.channel_of >= 0) & gone[slot.channel_of.clamp(min=0)]
            place = (slot.tensor, slot.dimension)
            kept[place] = kept.get(place, torch.ones(len(mask), dtype=torch.bool)) & ~mask
    for (name, dimension), mask in kept.items():
        path, _, leaf = name.rpartition(".")
        module = detector.get_submodule(path)
        tensor = getattr(module, leaf).detach()
        narrow = tensor.index_select(dimension, mask.nonzero().flatten())
        if leaf in module._parameters:
            setattr(module, leaf, nn.Parameter(narrow))
        else:
            setattr(module, leaf, narrow)
        if isinstance(module, nn.Conv2d) and leaf == "weight":
            module.out_channels, module.in_channels = module.weight.shape[:2]


def test_no_layer_is_emptied_and_the_weakest_go_first(varied: tuple[Detector, Gammas]) -> None:
    detector, gammas = varied
    with torch.no_grad():
        gammas.norms["model.3.bn"].weight.mul_(1e-3)
    assert gammas.table is not None
    remains = Forecaster(detector, gammas, gammas.table).remains(sizes_of(gammas), 0.3)
    gone = remains.removed[gammas.channels["model.3.bn"]]
    assert (~gone).sum() == LEAST_CHANNELS
    weights = gammas.norms["model.3.bn"].weight
    assert weights[~gone].min() >= weights[gone].max()


def test_a_masked_copy_has_zeros_where_the_cut_would_be(varied: tuple[Detector, Gammas]) -> None:
    detector, gammas = varied
    assert gammas.table is not None
    forecaster = Forecaster(detector, gammas, gammas.table)
    remains = forecaster.remains(sizes_of(gammas), 0.5)
    masked = forecaster.masked(detector, remains)
    for name, channels in gammas.channels.items():
        norm = masked.get_submodule(name)
        gone = remains.removed[channels]
        assert (norm.weight[gone] == 0).all() and (norm.bias[gone] == 0).all()  # type: ignore[index]
        own = gammas.norms[name].weight
        assert torch.equal(norm.weight[~gone], own[~gone])  # type: ignore[index]
        assert (own != 0).all(), "the original stays"


def test_cuts_are_written_each_epoch_and_judged_when_asked(
    varied: tuple[Detector, Gammas], caplog: pytest.LogCaptureFixture
) -> None:
    detector, gammas = varied
    monitor = CutMonitor(detector, gammas, every=2)
    written: dict[str, float] = {}
    board = SimpleNamespace(add_scalars=lambda values, _: written.update(values))
    judged = []

    def judge(masked: Detector) -> object:
        judged.append(masked)
        return SimpleNamespace(evaluation=SimpleNamespace(map50=0.5, map50_95=0.25))

    with caplog.at_level(logging.INFO, logger="prunus"):
        monitor.report(board, detector, 0, judge)  # type: ignore[arg-type]
        assert not judged
        monitor.report(board, detector, 1, judge)  # type: ignore[arg-type]
    assert len(judged) == 3
    assert written["cut/30%/parameters"] > written["cut/50%/parameters"] > 0
    assert written["cut/70%/map50"] == 0.5
    first, second = [record.message for record in caplog.records]
    assert first.startswith("a cut of 30/50/70 % leaves ")
    assert second.endswith("mAP50 0.500/0.500/0.500, mAP50-95 0.250/0.250/0.250")


@pytest.mark.parametrize("regulariser", ["group", "polarization"])
def test_training_pulls_with_every_regulariser(
    make_engine: Callable[..., Engine],
    make_batch: Callable[..., Batch],
    nano: Detector,
    regulariser: str,
) -> None:
    nn.init.constant_(nano.model[3].bn.weight, 0.01)  # type: ignore[union-attr, arg-type]
    hyp = {"warmup_epochs": 0, "lr0": 0.001}
    engine = make_engine(sparsity="auto", nominal_batch=4, regulariser=regulariser, hyp=hyp)
    for _ in range(2):
        engine.run_epoch([make_batch(4, seed) for seed in range(2)], lambda: False)
        engine.position.begin_next_epoch()
    assert (nano.model[3].bn.weight == 0).float().mean() > 0.5  # type: ignore[union-attr]
