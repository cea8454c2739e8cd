"""Numbers that stop being finite in a whole training: back to the last state, slower (R8)."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from prunus.core.errors import TrainingError
from prunus.model.loss import DetectionLoss, LossTerms
from prunus.train import start
from prunus.train.checkpoint import BEST, LAST, PREVIOUS, STATE, read_state
from prunus.train.config import TrainConfig
from prunus.weights.files import load_weights

pytestmark = pytest.mark.integration
MakeSettings = Callable[..., TrainConfig]


def assert_finite(folder: Path) -> None:
    for name in (STATE, PREVIOUS):
        state = read_state(folder / name)
        for part in ("detector", "average"):
            assert all(bool(t.isfinite().all()) for t in state[part].values())
    for name in (LAST, BEST):
        tensors = load_weights(folder / name).detector.state_dict().values()
        assert all(bool(t.isfinite().all()) for t in tensors)


def spoil(monkeypatch: pytest.MonkeyPatch, at: Callable[[int], bool]) -> None:
    """Let the loss of some calls while training be NaN."""
    real, calls = DetectionLoss.__call__, iter(range(10_000))

    def spoilt(loss: DetectionLoss, *given: Any) -> LossTerms:
        terms = real(loss, *given)
        if not torch.is_grad_enabled() or not at(next(calls)):
            return terms
        return replace(terms, box=terms.box * float("nan"))

    monkeypatch.setattr(DetectionLoss, "__call__", spoilt)


def test_it_goes_back_slower_and_names_the_images(
    settings: MakeSettings,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Four batches an epoch; the first three losses of the second are NaN."""
    spoil(monkeypatch, lambda call: 4 <= call < 7)
    folder = tmp_path / "run"
    with caplog.at_level(logging.INFO, logger="prunus"):
        result = start.run(settings(cfg=str(tiny), epochs=3, batch_size=2), folder)
    assert len(result.epochs) == 3
    assert "epoch 2, batch 1: loss not finite (" in caplog.text
    assert "3 times in a row: going back to epoch 2, batch 1, with learning" in caplog.text
    position = read_state(folder / STATE)["position"]
    assert (position["lr_scale"], position["rollbacks"]) == (0.5, 1)
    assert result.epochs[2]["x/lr1"] == pytest.approx(0.5 * 0.01 * (1 - 2 / 3 * 0.99), rel=1e-6)
    assert_finite(folder)


def test_it_gives_up_after_three_times(
    settings: MakeSettings, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, lambda call: call >= 4)
    folder = tmp_path / "run"
    with pytest.raises(TrainingError, match=r"Going back 3 times, to a .* 0\.125, did not help"):
        start.run(settings(cfg=str(tiny), epochs=3, batch_size=2), folder)
    assert read_state(folder / STATE)["position"]["epoch"] == 1
    assert_finite(folder)


def test_a_learning_rate_far_too_high_saves_nothing_that_is_not_finite(
    settings: MakeSettings, tiny: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    hyp = {"lr0": 1e30, "warmup_epochs": 0}
    with pytest.raises(TrainingError, match=r"not finite.*Going back 3 times"):
        start.run(settings(cfg=str(tiny), epochs=9, batch_size=2, hyp=hyp), folder)
    for name in (STATE, PREVIOUS):
        state = read_state(folder / name)
        for part in ("detector", "average"):
            assert all(bool(t.isfinite().all()) for t in state[part].values())


def test_weights_that_overflow_unseen_are_noticed_on_saving(
    settings: MakeSettings,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A weight that no loss depends on: of a class's bias in the average."""
    from prunus.train.ema import ExponentialAverage

    real, calls = ExponentialAverage.update, iter(range(10_000))

    def spoilt(average: ExponentialAverage, detector: object) -> None:
        real(average, detector)  # type: ignore[arg-type]
        if next(calls) == 4:
            list(average.detector.parameters())[-1].data[-1] = float("inf")

    monkeypatch.setattr(ExponentialAverage, "update", spoilt)
    with caplog.at_level(logging.INFO, logger="prunus"):
        start.run(settings(cfg=str(tiny), epochs=2, batch_size=2), tmp_path / "run")
    assert "of the average is not finite: going back to epoch 2, batch 1" in caplog.text
    assert_finite(tmp_path / "run")
