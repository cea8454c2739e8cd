"""Zeros that a training makes or keeps: the ramp, what is held, and the weights that are saved."""

import logging
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from prunus.core.config import parse
from prunus.core.errors import ConfigError, TrainingError
from prunus.core.records import Batch
from prunus.core.shares import Pattern
from prunus.model.detector import Detector
from prunus.model.nm import check_nm
from prunus.model.zeros import beyond, lowest, lowest_of_each, weights_of
from prunus.train import start
from prunus.train.checkpoint import BEST, LAST, STATE, read_state, restore_, save_state
from prunus.train.config import TrainConfig
from prunus.train.engine import Engine
from prunus.train.holder import ZeroHolder
from prunus.train.interrupt import Interrupt
from prunus.train.masks import approach_pattern, approach_share, hold_zeros
from prunus.train.ramp import Ramp, cubic
from prunus.weights.files import load_weights
from prunus.weights.native import save_weights

MakeEngine = Callable[..., Engine]
MakeBatch = Callable[..., Batch]
MakeSettings = Callable[..., TrainConfig]


def zeros_of(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach() == 0 for name, weight in weights_of(model).items()}


def assert_exact(model: torch.nn.Module, share: float) -> None:
    for name, mask in zeros_of(model).items():
        assert int(mask.sum()) == round(share * mask.numel()), name


@pytest.mark.parametrize(
    ("progress", "share"), [(0, 0), (0.25, 0.4625), (0.5, 0.7), (0.75, 0.7875), (1, 0.8)]
)
def test_the_cubic_ramp_by_hand(progress: float, share: float) -> None:
    assert cubic(progress, 0.8) == pytest.approx(share)


def test_the_cubic_ramp_starts_where_it_is_told() -> None:
    assert cubic(0, 0.8, 0.3) == pytest.approx(0.3)
    assert cubic(0.5, 0.8, 0.3) == pytest.approx(0.8 - 0.5 / 8)


@given(
    final=st.floats(0.01, 0.99),
    begin=st.floats(0, 0.5),
    length=st.floats(0.01, 0.5),
    shape=st.sampled_from(["cubic", "constant"]),
)
def test_any_ramp_only_rises_and_ends_exactly_at_its_share(
    final: float, begin: float, length: float, shape: str
) -> None:
    ramp = Ramp(final, begin, min(begin + length, 1.0), shape)  # type: ignore[arg-type]
    shares = [ramp.at(step / 200) for step in range(201)]
    assert shares == sorted(shares)
    assert shares[-1] == final
    assert all(share == 0 for step, share in enumerate(shares) if step / 200 < begin)
    if shape == "constant":
        assert set(shares) <= {0.0, final}


def test_what_has_gone_is_held_in_the_weights_and_in_their_average() -> None:
    weight, average = torch.tensor([[4.0, 1.0, 3.0, 2.0]]), torch.full((1, 4), 9.0)
    holder = ZeroHolder({"w": weight}, {"w": average}, Ramp(0.5, 0, 1, "constant"), lowest_of_each)
    assert not holder.complete
    holder.step(0.1)
    assert weight.tolist() == [[4, 0, 3, 0]]
    assert average.tolist() == [[9, 0, 9, 0]]
    weight += 10  # as an optimizer step would
    average += 1
    holder.step(0.2)
    assert weight.tolist() == [[14, 0, 13, 0]]
    assert average.tolist() == [[10, 0, 10, 0]]
    assert holder.complete and holder.share == 0.5


def test_none_comes_back_however_much_the_optimizer_pulls() -> None:
    torch.manual_seed(0)
    weights = {"a": torch.randn(8, 8), "b": torch.randn(4, 4, 3, 3) * 10}
    averages = {name: weight.clone() for name, weight in weights.items()}
    holder = ZeroHolder(weights, averages, Ramp(0.9, 0.1, 0.9), lowest)
    gone = {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    for step in range(1, 51):
        for weight in weights.values():
            weight += torch.randn_like(weight)
        holder.step(step / 50)
        for name, weight in weights.items():
            now = weight == 0
            assert not (gone[name] & ~now).any()
            assert (averages[name][now] == 0).all()
            gone[name] = now
    assert sum(int(mask.sum()) for mask in gone.values()) == round(0.9 * 208)


def test_a_pattern_is_reached_one_weight_of_each_group_at_a_time() -> None:
    weight = torch.arange(1.0, 9.0).view(1, 8)
    weights = {"w": weight, "stem": torch.ones(2, 3)}
    averages = {name: tensor.clone() for name, tensor in weights.items()}
    holder = approach_pattern(weights, averages, Ramp(0.5, 0, 1), Pattern(2, 4))
    counts = []
    for step in range(101):
        holder.step(step / 100)
        counts.append(int((weight == 0).sum()))
    assert sorted(set(counts)) == [0, 2, 4]
    assert counts == sorted(counts)
    assert weight.tolist() == [[0, 0, 3, 4, 0, 0, 7, 8]]
    assert (weights["stem"] == 1).all()


def test_zeros_that_are_there_are_part_of_the_ramp() -> None:
    weight = torch.arange(1.0, 11.0)
    weight[9] = 0  # else the largest
    holder = approach_share({"w": weight}, {"w": weight.clone()}, Ramp(0.3, 0, 1), "layer")
    for done in (0.01, 0.02):  # the ramp wants fewer zeros yet than there are
        weight += 0.1
        holder.step(done)
        assert weight[9] == 0
    holder.step(1.0)
    assert (weight == 0).nonzero().flatten().tolist() == [0, 1, 9]


def test_what_cannot_be_held_or_reached_is_said() -> None:
    dense = {"w": torch.ones(4, 4)}
    with pytest.raises(TrainingError, match=r"keep_zeros: only 0\.0% of the weights are zero"):
        hold_zeros(dense, dense)
    with pytest.raises(TrainingError, match="nm: no layer that learns has a multiple of 8"):
        approach_pattern(dense, dense, Ramp(0.5), Pattern(4, 8))
    half = {"w": torch.tensor([0.0, 1.0]), "v": torch.ones(8)}
    with pytest.raises(TrainingError, match=r"w has 50\.0% zeros already, more than 20\.0%"):
        approach_share(half, half, Ramp(0.2), "layer")
    approach_share(half, half, Ramp(0.2), "global")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"weight_sparsity": 0.5, "nm": "2:4"}, "--weight-sparsity and --nm exclude each other"),
        ({"keep_zeros": True, "nm": "2:4"}, "--nm and --keep-zeros exclude each other"),
        ({"nm": "4:2"}, "--nm: 4:2: N must be at least 1 and smaller than M"),
        ({"weight_begin": 0.8}, r"--weight-begin 0\.8 must be smaller than --weight-end 0\.75"),
        ({"weight_sparsity": 100}, "--weight-sparsity: expected .*less than 1"),
        ({"weight_schedule": "linear"}, "--weight-schedule: expected 'cubic' or 'constant'"),
    ],
)
def test_settings_that_contradict_are_refused_in_one_line(
    values: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^{words}[^\n]*$"):
        parse(TrainConfig, values)


def run_to_the_end(engine: Engine, make_batch: MakeBatch, until: int = 4) -> None:
    while engine.position.epoch < until:
        first = engine.position.epoch * 2
        assert engine.run_epoch([make_batch(4, first + n) for n in range(2)], lambda: False)
        engine.position.begin_next_epoch()


def test_frozen_rows_stay_as_they_are(
    nano: Detector, make_engine: MakeEngine, make_batch: MakeBatch
) -> None:
    engine = make_engine(weight_sparsity=0.5, freeze=["backbone"], nominal_batch=4, epochs=1)
    run_to_the_end(engine, make_batch, until=1)
    for name, mask in zeros_of(nano).items():
        expected = 0 if int(name.split(".")[1]) < 10 else round(0.5 * mask.numel())
        assert int(mask.sum()) == expected, name


@pytest.mark.parametrize(
    "settings",
    [
        {"weight_sparsity": 0.7},
        {"weight_sparsity": 0.7, "weight_scope": "global", "optimizer": "adamw"},
        {"nm": "2:4", "weight_end": 1.0, "sparsity": "auto"},
        {"weight_sparsity": 0.7, "weight_schedule": "constant", "weight_begin": 0.6},
    ],
)
def test_four_epochs_equal_two_stop_two_with_the_same_zeros(
    nano: Detector,
    make_engine: MakeEngine,
    make_batch: MakeBatch,
    tmp_path: Path,
    settings: dict[str, object],
) -> None:
    began, settings = deepcopy(nano), {"nominal_batch": 4, **settings}
    through = make_engine(nano, **settings)
    run_to_the_end(through, make_batch)
    first = make_engine(deepcopy(began), **settings)
    run_to_the_end(first, make_batch, until=2)
    save_state(tmp_path / "state.pt", first, {}, {})
    second = make_engine(deepcopy(began), **settings)
    restore_(second, read_state(tmp_path / "state.pt"))
    run_to_the_end(second, make_batch)
    for mine, theirs in (
        (through.detector, second.detector),
        (through.average.detector, second.average.detector),
    ):
        other = theirs.state_dict()
        assert all(torch.equal(t, other[name]) for name, t in mine.state_dict().items())
    assert second.holder is not None and second.holder.complete
    averaged = zeros_of(second.average.detector)
    assert all(mask.equal(averaged[name]) for name, mask in zeros_of(second.detector).items())
    assert second.holder.share == pytest.approx(0.5 if "nm" in settings else 0.7, abs=1e-4)


def test_the_average_is_exactly_zero_where_the_weights_are_even_without_finite_steps(
    nano: Detector, make_engine: MakeEngine, make_batch: MakeBatch
) -> None:
    engine = make_engine(weight_sparsity=0.6, nominal_batch=4, epochs=1)
    hook = nano.head.m[0].weight.register_hook(lambda gradient: gradient * float("inf"))  # type: ignore[union-attr]
    run_to_the_end(engine, make_batch, until=1)
    hook.remove()
    assert engine.average.updates == 0
    assert_exact(engine.average.detector, 0.6)


@pytest.mark.integration
def test_a_stopped_and_resumed_training_saves_exactly_the_share_that_was_asked(
    settings: MakeSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    through, stopped = tmp_path / "through", tmp_path / "stopped"
    asked = settings(weight_sparsity=70, weight_end=0.6)
    start.run(asked, through)
    calls = iter(range(1, 100))
    with monkeypatch.context() as patch:
        patch.setattr(Interrupt, "requested", lambda _: next(calls) >= 1)
        with pytest.raises(KeyboardInterrupt):
            start.run(asked, stopped)
    partly = read_state(stopped / STATE)["position"]
    assert (partly["epoch"], partly["batch"]) == (0, 1), "stopped on the ramp"
    with caplog.at_level(logging.INFO, logger="prunus"):
        result = start.resume(stopped)
    for name in (LAST, BEST):
        detectors = [load_weights(folder / name).detector for folder in (through, stopped)]
        for detector in detectors:
            assert_exact(detector, 0.7)
        one, other = (detector.state_dict() for detector in detectors)
        assert all(torch.equal(tensor, other[key]) for key, tensor in one.items())
    assert result.best_epoch == 1, "an epoch on the ramp is not the best"
    lines = [record.message for record in caplog.records]
    assert any("of 60 layers become zero (cubic, 0% to 60% of the run)" in line for line in lines)
    assert any("dense runtimes gain no speed" in line for line in lines)
    assert any(
        line.endswith("70.0% in the end; the best epoch is chosen from then on") for line in lines
    )
    assert any(line == "zeros: 70.0% of the weights" for line in lines)


@pytest.mark.integration
def test_a_detector_cut_to_2_of_4_is_retrained_with_its_zeros(
    nano: Detector, settings: MakeSettings, tmp_path: Path
) -> None:
    pattern = Pattern(2, 4)
    with torch.no_grad():
        for name, weight in weights_of(nano).items():
            if name != "model.0.conv":
                weight.masked_fill_(beyond(weight.abs(), pattern), 0)
    save_weights(nano, tmp_path / "sparse.safetensors")
    result = start.run(
        settings(cfg="", weights=tmp_path / "sparse.safetensors", epochs=1, keep_zeros=True),
        tmp_path / "run",
    )
    trained = load_weights(result.best).detector
    assert sum(check.violations for check in check_nm(trained, 2, 4)) == 0
    masks = zeros_of(trained)
    assert all(mask.equal(masks[name]) for name, mask in zeros_of(nano).items())
    name = "model.2.m.0.cv1.conv.weight"
    assert not torch.equal(trained.state_dict()[name], nano.state_dict()[name])
