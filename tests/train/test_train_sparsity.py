"""The pull on gammas: its size by simulation, what is refused, and that training obeys it."""

import logging
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from prunus.core.errors import TrainingError
from prunus.core.records import Batch
from prunus.model.detector import Detector
from prunus.train.engine import Engine
from prunus.train.gammas import STAYS, Gammas, prunable_gammas
from prunus.train.schedule import Schedule
from prunus.train.sparsity import (
    GammaShrinker,
    choose_strength,
    gamma_sizes,
    gamma_summary,
    pulling_rates,
)

RATES = Schedule(epochs=20, batches=5, batch_size=64).step_rates()
MOMENTUM = 0.937


def strength_for(budget: float, rates: Sequence[float]) -> float:
    return budget * (1 - MOMENTUM) / sum(rates)


def free_gamma(start: float) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(2)
    nn.init.constant_(norm.weight, start)
    return norm


def apart(norms: dict[str, nn.BatchNorm2d]) -> Gammas:
    """Take every gamma for a channel of its own."""
    sizes = [norm.num_features for norm in norms.values()]
    numbers = torch.split(torch.arange(sum(sizes)), sizes)
    return Gammas(norms, dict(zip(norms, numbers, strict=True)))


def test_a_gamma_that_the_loss_does_not_hold_moves_by_the_budget() -> None:
    norm = free_gamma(2.0)
    shrinker = GammaShrinker(apart({"bn": norm}), strength_for(1, RATES), RATES, MOMENTUM)
    optimizer = torch.optim.SGD(norm.parameters(), lr=0.1, momentum=0.937, nesterov=True)
    for lr in RATES:
        norm.weight.grad = torch.zeros(2)  # the loss does not care, but momentum is at work
        optimizer.step()
        shrinker.step(lr)
    assert shrinker.budget == pytest.approx(1.0)
    assert shrinker.spent == pytest.approx(shrinker.budget)
    assert norm.momentum == 0.1, "statistics have to follow gammas that move"
    torch.testing.assert_close(norm.weight, torch.full((2,), 1.0), atol=1e-4, rtol=0)


def test_the_last_fifth_of_a_run_does_not_pull() -> None:
    norm = free_gamma(2.0)
    pulling = pulling_rates(RATES)
    assert len(pulling) == round(0.8 * len(RATES))
    shrinker = GammaShrinker(apart({"bn": norm}), strength_for(1, pulling), pulling, MOMENTUM)
    seen = []
    for lr in RATES:
        shrinker.step(lr)
        seen.append(norm.weight[0].item())
    torch.testing.assert_close(norm.weight, torch.full((2,), 1.0), atol=1e-4, rtol=0)
    assert seen[len(pulling) - 1] == pytest.approx(seen[-1], abs=1e-6)
    assert seen[len(pulling) - 5] > seen[-1] + 1e-4


@pytest.mark.parametrize("resumed", [False, True])
def test_what_has_arrived_at_zero_is_held_there(resumed: bool) -> None:
    norm = nn.BatchNorm2d(2)
    norm.weight.data = torch.tensor([0.5, 3.0])
    shrinker = GammaShrinker(apart({"bn": norm}), 1.0, [0.5, 0.5], 0.0)
    for _ in range(2):
        shrinker.step(0.5)
    if resumed:
        spent = shrinker.spent
        shrinker = GammaShrinker(apart({"bn": norm}), 1.0, [0.5, 0.5], 0.0)
        shrinker.go_on_from(spent)
    norm.weight.data += 0.25  # as an optimizer step would
    shrinker.step(0.5)
    torch.testing.assert_close(norm.weight.data, torch.tensor([0.0, 2.25]))
    assert shrinker.spent == pytest.approx(1.0)


def test_a_strength_pulls_as_far_as_the_classic_sub_gradient_of_that_size() -> None:
    gamma = nn.Parameter(torch.tensor([1000.0]))
    optimizer = torch.optim.SGD([gamma], lr=0.1, momentum=MOMENTUM, nesterov=True)
    lr, steps = 0.01, 2000
    for group in optimizer.param_groups:
        group["lr"] = lr
    for _ in range(steps):
        gamma.grad = 0.5 * gamma.detach().sign()
        optimizer.step()
    moved = 1000 - gamma.item()
    ours = GammaShrinker(apart({"bn": free_gamma(1.0)}), 0.5, [lr] * steps, MOMENTUM)
    assert moved == pytest.approx(ours.budget, rel=0.01)


def test_gammas_stop_at_zero_exactly_from_either_side() -> None:
    norm = nn.BatchNorm2d(3)
    norm.weight.data = torch.tensor([0.05, -0.05, 0.5])
    GammaShrinker(apart({"bn": norm}), 0.5, [0.1], 0.5).step(0.1)
    torch.testing.assert_close(norm.weight.data, torch.tensor([0.0, 0.0, 0.4]))


def test_a_strength_that_cannot_work_is_refused_with_one_that_can() -> None:
    works = strength_for(0.3, RATES)
    with pytest.raises(
        TrainingError, match=rf"only 0\.1 in .* Give --sparsity {works:.3g} or auto"
    ):
        choose_strength(works / 3, RATES, MOMENTUM)
    assert choose_strength(works, RATES, MOMENTUM) == works


@pytest.mark.parametrize(
    ("steps", "budget"),
    [(100_000, 1.0), (420, 0.015 * 420 * 0.005 / (1 - MOMENTUM)), (50, 0.3)],
    ids=["long", "short: as strong as can be held", "very short: the least that works"],
)
def test_auto_aims_at_one_unless_that_would_pull_harder_than_can_be_held(
    steps: int, budget: float
) -> None:
    rates = [0.005] * steps
    strength = choose_strength("auto", rates, MOMENTUM)
    assert strength == pytest.approx(strength_for(budget, rates))


def test_a_strength_that_is_far_too_large_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="prunus"):
        choose_strength(6 / sum(RATES), RATES, 0.0)
    assert "may empty whole layers" in caplog.text


def test_frozen_rows_are_not_pulled_on(nano: Detector) -> None:
    every = prunable_gammas(nano, ()).norms
    assert len(every) == sum(isinstance(m, nn.BatchNorm2d) for m in nano.modules())
    assert all(nano.get_submodule(name) is norm for name, norm in every.items())
    some = prunable_gammas(nano, range(10)).norms
    assert set(some) == {name for name in every if int(name.split(".")[1]) >= 10}
    with pytest.raises(TrainingError, match="no batch norm to pull on"):
        prunable_gammas(nano, range(25))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_with_a_strong_pull_empties_channels(
    nano: Detector,
    make_engine: Callable[..., Engine],
    make_batch: Callable[..., Batch],
    optimizer: str,
) -> None:
    with torch.no_grad():
        nano.model[3].bn.weight.fill_(0.01)  # type: ignore[union-attr, operator]
    # warm-up off, so that the first steps have a rate
    hyp = {"warmup_epochs": 0, "lr0": 0.001}
    engine = make_engine(sparsity="auto", nominal_batch=4, optimizer=optimizer, hyp=hyp)
    assert engine.shrinker is not None
    for _ in range(4):
        engine.run_epoch([make_batch(4, seed) for seed in range(2)], lambda: False)
        engine.position.begin_next_epoch()
    assert engine.shrinker.spent == pytest.approx(engine.shrinker.budget)
    assert (nano.model[3].bn.weight == 0).float().mean() > 0.5  # type: ignore[union-attr]
    sizes = gamma_sizes(nano, engine.shrinker.names)
    summary = gamma_summary(sizes)
    channels = sum(len(size) for size in sizes.values())
    zeros = sum(int((size < 1e-3).sum()) for size in sizes.values())
    assert summary["below_0.001"] == pytest.approx(zeros / channels)
    assert summary["cut_at_30%"] <= summary["cut_at_50%"] <= summary["cut_at_70%"]


def test_betas_of_channels_at_zero_are_pulled_along() -> None:
    norm = nn.BatchNorm2d(3)
    norm.weight.data = torch.tensor([0.05, 0.5, 0.0])
    norm.bias.data = torch.tensor([1.0, 1.0, -0.03])
    GammaShrinker(apart({"bn": norm}), 0.5, [0.1, 0.1], 0.5).step(0.1)  # a pull of 0.1
    torch.testing.assert_close(norm.weight.data, torch.tensor([0.0, 0.4, 0.0]))
    torch.testing.assert_close(norm.bias.data, torch.tensor([0.9, 1.0, 0.0]))


@pytest.mark.parametrize(("share", "expected"), [(0.5, [0.9, 0.95]), (10.0, [0.0, 0.0])])
def test_all_betas_are_pulled_when_asked(share: float, expected: list[float]) -> None:
    norm = nn.BatchNorm2d(2)
    norm.weight.data = torch.tensor([0.0, 0.5])
    nn.init.ones_(norm.bias)
    GammaShrinker(apart({"bn": norm}), 0.5, [0.1, 0.1], 0.5, beta_share=share).step(0.1)
    torch.testing.assert_close(norm.bias.data, torch.tensor(expected))


def test_what_stays_is_neither_pulled_nor_held() -> None:
    norm = nn.BatchNorm2d(3)
    norm.weight.data = torch.tensor([0.5, 0.5, 0.0])
    nn.init.ones_(norm.bias)
    gammas = Gammas({"bn": norm}, {"bn": torch.tensor([0, STAYS, STAYS])})
    shrinker = GammaShrinker(gammas, 0.5, [0.1], 0.5, beta_share=1.0)
    shrinker.step(0.1)
    torch.testing.assert_close(norm.weight.data, torch.tensor([0.4, 0.5, 0.0]))
    torch.testing.assert_close(norm.bias.data, torch.tensor([0.9, 1.0, 1.0]))
    norm.weight.data += 0.1
    shrinker.step(0.1)
    torch.testing.assert_close(norm.weight.data, torch.tensor([0.5, 0.6, 0.1]))


def test_going_back_lets_go_of_what_was_held() -> None:
    norm = nn.BatchNorm2d(1)
    norm.weight.data = torch.tensor([0.05])
    shrinker = GammaShrinker(apart({"bn": norm}), 1.0, [0.5, 0.5], 0.0)
    shrinker.step(0.5)
    shrinker.step(0.5)
    shrinker.go_on_from(0.5)
    norm.weight.data = torch.tensor([0.7])
    shrinker.step(0.5)
    torch.testing.assert_close(norm.weight.data, torch.tensor([0.2]))
