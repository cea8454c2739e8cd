"""Learning rates at given iterations against values by hand, and when the optimizer steps."""

import math

import pytest

from prunus.train.schedule import Schedule

LONG = Schedule(epochs=100, batches=50, batch_size=16)  # warm-up: 3 epochs of 50, so 150 iterations


def test_the_warm_up_starts_at_zero_and_biases_start_high() -> None:
    start = LONG.tempo(0)
    assert (start.lr, start.bias_lr, start.momentum, start.accumulate) == (0.0, 0.1, 0.8, 1)
    middle = LONG.tempo(75)  # epoch 1
    wanted = 0.01 * (0.99 * 0.99 + 0.01)
    assert middle.lr == pytest.approx(wanted / 2)
    assert middle.bias_lr == pytest.approx((0.1 + wanted) / 2)
    assert middle.momentum == pytest.approx((0.8 + 0.937) / 2)
    assert middle.accumulate == round(2.5)


def test_after_the_warm_up_the_rate_falls_along_a_line() -> None:
    tempo = LONG.tempo(50 * 50 + 7)
    assert tempo.lr == tempo.bias_lr == pytest.approx(0.01 * (0.5 * 0.99 + 0.01))
    assert tempo.momentum == 0.937
    assert tempo.accumulate == 4
    assert LONG.tempo(4999).lr == pytest.approx(0.01 * (0.01 * 0.99 + 0.01))


def test_or_along_a_cosine() -> None:
    schedule = Schedule(epochs=100, batches=50, batch_size=16, lrf=0.1, cosine=True)
    for epoch in (10, 50, 99):
        by_hand = (1 - math.cos(math.pi * epoch / 100)) / 2 * (0.1 - 1) + 1
        assert schedule.factor(epoch) == pytest.approx(by_hand)


def test_the_warm_up_has_at_least_100_iterations_and_at_most_a_third_of_the_run() -> None:
    assert Schedule(epochs=300, batches=10, batch_size=16).warmup == 100
    assert LONG.warmup == 150
    tiny = Schedule(epochs=30, batches=2, batch_size=16)
    assert tiny.wanted_warmup == 100
    assert tiny.warmup == 20
    assert Schedule(epochs=30, batches=2, batch_size=16, warmup_epochs=0).warmup == 0


@pytest.mark.parametrize("batch_size", [4, 16, 64, 128])
def test_an_epoch_ends_with_a_step_so_that_no_gradient_is_lost(batch_size: int) -> None:
    schedule = Schedule(epochs=20, batches=7, batch_size=batch_size)
    assert all(6 in schedule.stepping_batches(epoch) for epoch in range(20))
    assert len(schedule.step_rates()) == sum(len(schedule.stepping_batches(e)) for e in range(20))


def test_steps_every_fourth_batch_of_16_and_at_the_end() -> None:
    schedule = Schedule(epochs=100, batches=10, batch_size=16)
    assert sorted(schedule.stepping_batches(50)) == [3, 7, 9]
    assert sorted(schedule.stepping_batches(0)) == list(
        range(10)
    )  # warm-up begins with single batches
