"""The average: its decay by hand, what it holds, and what it leaves alone."""

import math

import pytest
import torch

from prunus.model.detector import Detector
from prunus.train.ema import ExponentialAverage


def test_the_decay_by_hand_and_its_effect(nano: Detector) -> None:
    average = ExponentialAverage(nano)
    name = "model.0.conv.weight"
    before = average.detector.state_dict()[name].clone()
    with torch.no_grad():
        nano.model[0].conv.weight.add_(1.0)  # type: ignore[union-attr, operator]
    average.update(nano)
    decay = 0.9999 * (1 - math.exp(-1 / 2000))
    assert average.decay == pytest.approx(decay)
    expected = decay * before + (1 - decay) * nano.state_dict()[name]
    torch.testing.assert_close(average.detector.state_dict()[name], expected)
    average.updates = 20_000
    assert average.decay == pytest.approx(0.9999 * (1 - math.exp(-10)))


def test_statistics_are_averaged_and_counters_copied(nano: Detector) -> None:
    average = ExponentialAverage(nano)
    nano.train()
    nano(torch.rand(2, 3, 64, 64))
    average.update(nano)
    mine, theirs = average.detector.state_dict(), nano.state_dict()
    assert mine["model.0.bn.num_batches_tracked"] == 1
    assert not torch.equal(mine["model.0.bn.running_mean"], theirs["model.0.bn.running_mean"])
    assert mine["model.0.bn.running_mean"].abs().max() > 0


def test_entries_that_do_not_change_stay_equal_to_the_last_bit(nano: Detector) -> None:
    average = ExponentialAverage(nano)
    for _ in range(50):
        average.update(nano)
    for name, tensor in average.detector.state_dict().items():
        assert torch.equal(tensor, nano.state_dict()[name]), name
