"""Groups, decay and clipping."""

import pytest
import torch
from torch import nn

from prunus.model.detector import Detector
from prunus.train.optimizer import (
    OPTIMIZERS,
    build_optimizer,
    clip_gradients,
    scaled_weight_decay,
    set_tempo,
)
from prunus.train.schedule import Schedule, Tempo


def test_biases_come_first_then_decayed_weights_then_norm_weights(nano: Detector) -> None:
    optimizer = build_optimizer(nano, "sgd", lr=0.01, momentum=0.9, weight_decay=5e-4)
    biases, weights, norms = optimizer.param_groups
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0, 5e-4, 0]
    layers = [m for m in nano.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {id(p) for p in norms["params"]} == {id(m.weight) for m in layers}
    assert {id(p) for p in biases["params"]} == {
        id(p) for name, p in nano.named_parameters() if name.endswith(".bias")
    }
    assert {p.ndim for p in weights["params"]} == {4}
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(list(nano.parameters()))


def test_frozen_parameters_are_left_out(nano: Detector) -> None:
    nano.model[0].requires_grad_(False)
    optimizer = build_optimizer(nano, "sgd", lr=0.01, momentum=0.9, weight_decay=0)
    held = {id(p) for g in optimizer.param_groups for p in g["params"]}
    assert not held & {id(p) for p in nano.model[0].parameters()}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_optimizer_moves_its_parameters_and_takes_a_tempo(kind: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    before = [p.detach().clone() for p in net.parameters()]
    optimizer = build_optimizer(net, kind, lr=0.01, momentum=0.9, weight_decay=5e-4)
    set_tempo(optimizer, Tempo(lr=0.02, bias_lr=0.05, momentum=0.8, accumulate=1))
    assert [g["lr"] for g in optimizer.param_groups] == [0.05, 0.02, 0.02]
    (net(torch.rand(2, 3, 4, 4)) ** 3).sum().backward()
    optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_decay_is_scaled_by_the_images_in_a_step() -> None:
    assert scaled_weight_decay(5e-4, Schedule(9, 9, batch_size=16)) == pytest.approx(5e-4)
    assert scaled_weight_decay(5e-4, Schedule(9, 9, batch_size=128)) == pytest.approx(1e-3)
    assert scaled_weight_decay(5e-4, Schedule(9, 9, batch_size=24)) == pytest.approx(5e-4 * 72 / 64)


def test_gradients_are_clipped_to_a_joint_norm_of_ten() -> None:
    net = nn.Linear(2, 1)
    optimizer = build_optimizer(net, "sgd", lr=0.1, momentum=0.9, weight_decay=0)
    net.weight.grad, net.bias.grad = torch.tensor([[30.0, 0.0]]), torch.tensor([40.0])
    assert clip_gradients(optimizer) == pytest.approx(50)
    torch.testing.assert_close(net.weight.grad, torch.tensor([[6.0, 0.0]]), atol=1e-4, rtol=0)
    torch.testing.assert_close(net.bias.grad, torch.tensor([8.0]), atol=1e-4, rtol=0)
