"""The engine: learns, accumulates exactly, and survives numbers that are not finite."""

import logging
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from prunus.core.errors import TrainingError
from prunus.core.records import Batch
from prunus.model.detector import Detector
from prunus.train.engine import Engine

MakeBatch = Callable[..., Batch]
MakeEngine = Callable[..., Engine]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_learns_four_pictures_by_heart(
    make_engine: MakeEngine, make_batch: MakeBatch, precision: str
) -> None:
    engine = make_engine(epochs=40, batches=1, nominal_batch=4, precision=precision)
    sums = []
    for _ in range(40):
        engine.run_epoch([make_batch(4, seed=1)], lambda: False)
        sums.append(sum(engine.position.mean_losses()))
        engine.position.begin_next_epoch()
    assert sums[-1] < 0.75 * sums[0]
    assert engine.average.updates == 40


def test_two_batches_of_two_step_like_one_of_four_would(
    nano: Detector, make_engine: MakeEngine, make_batch: MakeBatch
) -> None:
    """Summed gradients, with batch norm held still, since it would see other batches."""
    hyp = {"warmup_epochs": 0}
    other = deepcopy(nano)
    pair, single = (
        make_engine(detector, batches=2, nominal_batch=8, hyp=hyp, freeze=["0-23"])
        for detector in (nano, other)
    )
    batches = [make_batch(4, seed) for seed in (1, 2)]
    pair.run_epoch(batches, lambda: False)
    for batch in batches:
        single._learn(batch)
    gradients = [p.grad.clone() for p in other.parameters() if p.grad is not None]
    assert len(gradients) == 6
    assert pair.average.updates == 1
    alone = []
    for batch in batches:
        single.optimizer.zero_grad()
        single._learn(batch)
        alone.append([p.grad.clone() for p in other.parameters() if p.grad is not None])
    for whole, one, two in zip(gradients, *alone, strict=True):
        torch.testing.assert_close(whole, one + two)


def test_a_batch_without_a_finite_loss_is_named_and_not_learnt_from(
    nano: Detector,
    make_engine: MakeEngine,
    make_batch: MakeBatch,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = make_engine(batches=3, nominal_batch=4)
    spoil_loss(engine, monkeypatch, {1})
    with caplog.at_level(logging.WARNING, logger="prunus"):
        engine.run_epoch([make_batch(4, seed) for seed in range(3)], lambda: False)
    assert (
        "epoch 1, batch 2: loss not finite (image0.jpg, image1.jpg, image2.jpg and 1 more)"
        in caplog.text
    )
    assert engine.average.updates == 2
    assert all(t.isfinite().all() for t in nano.state_dict().values())
    assert all(term < 10 for term in engine.position.mean_losses())


def test_three_in_a_row_end_the_training(
    make_engine: MakeEngine, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(batches=5, nominal_batch=4)
    spoil_loss(engine, monkeypatch, {0, 2, 3, 4})
    with pytest.raises(
        TrainingError, match=r"batch 5: loss not finite .* 3 times in a row\. Lower lr0"
    ):
        engine.run_epoch([make_batch(4, seed) for seed in range(5)], lambda: False)
    assert engine.average.updates == 1


def test_gradients_that_are_not_finite_make_no_step(
    nano: Detector, make_engine: MakeEngine, make_batch: MakeBatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make_engine(batches=1, nominal_batch=4)
    before = nano.model[0].conv.weight.detach().clone()  # type: ignore[union-attr, operator]
    hook = nano.head.m[0].weight.register_hook(lambda gradient: gradient * float("inf"))  # type: ignore[union-attr]
    with caplog.at_level(logging.WARNING, logger="prunus"):
        engine.run_epoch([make_batch(4, 0)], lambda: False)
    assert "gradient not finite (image0.jpg" in caplog.text
    assert engine.average.updates == 0
    assert torch.equal(before, nano.model[0].conv.weight)  # type: ignore[union-attr, arg-type]
    hook.remove()


def test_statistics_that_a_bad_forward_pass_spoilt_are_healed(
    nano: Detector, make_engine: MakeEngine, make_batch: MakeBatch
) -> None:
    engine = make_engine(batches=1, nominal_batch=4)
    weight = nano.model[0].conv.weight  # type: ignore[union-attr]
    sound = weight.detach().clone()  # type: ignore[operator]
    with torch.no_grad():
        weight.fill_(float("nan"))  # type: ignore[operator]
    engine.run_epoch([make_batch(4, 0)], lambda: False)
    with torch.no_grad():
        weight.copy_(sound)  # type: ignore[operator]
    assert all(buffer.isfinite().all() for buffer in nano.buffers())


def spoil_loss(engine: Engine, monkeypatch: pytest.MonkeyPatch, at: set[int]) -> None:
    """Let the loss of these batches be NaN."""
    real, calls = engine.loss, iter(range(1000))

    def spoilt(*given: object) -> object:
        terms = real(*given)  # type: ignore[arg-type]
        return replace(terms, box=terms.box * float("nan")) if next(calls) in at else terms

    monkeypatch.setattr(engine, "loss", spoilt)
