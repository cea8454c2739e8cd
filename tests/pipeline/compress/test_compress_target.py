"""Targets as factors, and the budgets and epochs that come of them."""

from typing import Any

import pytest

from prunus.core.config import parse
from prunus.core.errors import ConfigError
from prunus.pipeline.compress.config import CompressConfig
from prunus.pipeline.compress.effort import schedule_of
from prunus.pipeline.compress.target import Costs, target_of
from prunus.prune.config import PruneConfig

DENSE = Costs(ms=12.0, file_mb=8.0, params=1000, gflops=4.0)
HALF = Costs(ms=5.0, file_mb=2.0, params=400, gflops=1.0)
TIMED = {"runtime": "onnx", "runtime_precision": "fp32", "threads": 1}


def settings(**values: Any) -> CompressConfig:
    return parse(CompressConfig, {"data": "d.yaml", "weights": "w.pt", **values})


@pytest.mark.parametrize(
    ("flag", "value", "factor", "reached", "budget"),
    [
        ("speedup", 2.0, 2.0, 12 / 5, TIMED | {"speedup": 2.0}),
        ("latency_ms", 4.0, 3.0, 12 / 5, TIMED | {"speedup": 3.0}),
        ("flops", 0.5, 2.0, 4.0, {"flops": 0.5}),
        ("params", 0.25, 4.0, 2.5, {"params": 0.25}),
        ("size_mb", 2.0, 4.0, 4.0, {"params": 0.25}),
        ("percent", 0.75, 4.0, None, {"percent": 0.75}),
    ],
)
def test_every_target_is_a_factor(
    flag: str, value: float, factor: float, reached: float | None, budget: dict[str, object]
) -> None:
    target = target_of(settings(**{flag: value}))
    asked = target.factor(DENSE)
    assert asked == pytest.approx(factor)
    assert target.measured(DENSE, HALF) == pytest.approx(reached)
    assert target.budget(factor) == pytest.approx(budget)


def test_a_cut_is_priced_in_the_precision_of_the_target() -> None:
    target = target_of(settings(speedup=2, runtime="openvino", runtime_precision="bf16"))
    assert target.budget(2.0)["runtime_precision"] == "bf16"
    parse(PruneConfig, {"weights": "w.pt", **target.budget(2.0)})


def test_without_a_target_it_is_twice_as_fast() -> None:
    assert target_of(settings()).goal == 2.0
    assert target_of(settings(max_drop=1)).goal is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"speedup": 2, "flops": 0.5}, "give one target, not --speedup and --flops"),
        ({"furthest": True}, "--furthest: how far is decided by --max-drop"),
        ({"max_drop": 1, "longer": False}, "--max-drop: is judged against --longer"),
        ({"runtime_precision": "bf16"}, "ONNX Runtime computes in float32"),
        ({"cfg": "yolov5n"}, "give either --weights FILE, or --cfg NAME"),
        ({"data": None}, "--data: is needed"),
        ({"rewind": 2, "low_rank": 0.5}, "go together in one round only"),
        ({"speedup": 0.5}, "--speedup: expected greater than 1"),
    ],
)
def test_settings_that_do_not_go_together(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(**values)


def test_effort_sets_what_is_not_said() -> None:
    plan = schedule_of(settings(effort="thorough", finetune_epochs=10))
    assert (plan.adapt, plan.finetune, plan.rounds, plan.from_scratch) == (200, 10, (2, 2), True)
    assert not schedule_of(settings(effort="quick")).int8
    assert schedule_of(settings(rounds=4, max_drop=1)).rounds == (4, 4)
    assert schedule_of(settings(max_drop=1)).rounds == (1, 2), "one more after a near miss"
    assert schedule_of(settings(max_drop=1, finetune_epochs=0)).rounds == (1, 1)


def test_the_epochs_of_a_run_are_shared_out() -> None:
    """100 + 150, and 150 for the dense model: 400 in all; a hundred are a quarter of each."""
    plan = schedule_of(settings(epochs=100))
    assert (plan.adapt, plan.finetune) == (25, 37)
    assert plan.least <= 100


def test_an_epoch_to_rewind_to_is_one_that_the_adaptation_has() -> None:
    assert schedule_of(settings(rewind=100)).adapt == 100
    with pytest.raises(ConfigError, match="--rewind 101: the adaptation has 100 epochs"):
        schedule_of(settings(rewind=101))
    with pytest.raises(ConfigError, match="--rewind 30: the adaptation has 25 epochs"):
        schedule_of(settings(rewind=30, epochs=100))
    with pytest.raises(ConfigError, match="--rewind 5: the adaptation has 0 epochs"):
        schedule_of(settings(rewind=5, adapt_epochs=0))


def test_a_smaller_model_and_one_from_scratch_take_the_whole_way() -> None:
    """100 + 150 pruned, 150 longer, and 250 each."""
    plan = schedule_of(settings(smaller="n.pt", from_scratch=True))
    assert (plan.whole, plan.afterwards, plan.least) == (250, 500, 900)


def test_what_was_asked_to_be_no_training_may_stay_none() -> None:
    plan = schedule_of(settings(adapt_epochs=0, finetune_epochs=0, epochs=3))
    assert (plan.adapt, plan.finetune, plan.least) == (0, 0, 0)
    with pytest.raises(ConfigError, match="--epochs 60: too few"):
        schedule_of(settings(sparsity_epochs=5, epochs=60))


def test_too_few_epochs_are_refused() -> None:
    with pytest.raises(ConfigError, match="--epochs 3: too few"):
        schedule_of(settings(epochs=3))
    with pytest.raises(ConfigError, match="0 epochs make nothing of --cfg"):
        schedule_of(settings(weights=None, cfg="yolov5n", adapt_epochs=0))
