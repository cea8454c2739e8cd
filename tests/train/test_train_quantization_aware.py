"""Training that feels INT8: what is rounded, what gradients see, and what is saved."""

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from prunus.train.engine import Engine
from prunus.train.quantization_aware import (
    RoundedConv2d,
    feel_quantization_,
    rounded_inputs,
    rounded_weights,
)


def test_weights_by_hand() -> None:
    """The largest of a channel is 127 steps; others go to the nearest step."""
    weight = torch.tensor([[127.0, 1.4, -0.6, -127.0], [12.7, 0.04, 0.06, 0.0]])
    expected = torch.tensor([[127.0, 1.0, -1.0, -127.0], [12.7, 0.0, 0.1, 0.0]])
    torch.testing.assert_close(rounded_weights(weight), expected)
    assert torch.equal(rounded_weights(torch.zeros(2, 3, 1, 1)), torch.zeros(2, 3, 1, 1))


def test_inputs_by_hand() -> None:
    inputs = torch.tensor([-55.0, 200.0, 0.0, 0.4, 0.6])
    torch.testing.assert_close(rounded_inputs(inputs), torch.tensor([-55.0, 200.0, 0.0, 0.0, 1.0]))
    positive = torch.tensor([10.0, 255.0, 10.4])  # zero is always there
    torch.testing.assert_close(rounded_inputs(positive), torch.tensor([10.0, 255.0, 10.0]))
    assert torch.equal(rounded_inputs(torch.zeros(3)), torch.zeros(3))


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=30))
def test_no_input_moves_by_more_than_a_step_and_there_are_256(values: list[float]) -> None:
    inputs = torch.tensor(values)
    rounded = rounded_inputs(inputs)
    step = (max(0.0, max(values)) - min(0.0, min(values))) / 255
    assert float((rounded - inputs).abs().max()) <= step * 1.001 + 1e-6
    assert len(rounded.unique()) <= 256


def test_both_ends_round_outwards_and_there_are_still_256() -> None:
    """-1.5 stands for zero's place 2, so that 253.5 would be step 256."""
    assert rounded_inputs(torch.tensor([-1.5, 0.0, 253.5])).tolist() == [-2.0, 0.0, 253.0]


def test_gradients_pass_the_rounding() -> None:
    weight = torch.randn(3, 4, 1, 1, requires_grad=True)
    (rounded_weights(weight) * torch.arange(12.0).view(3, 4, 1, 1)).sum().backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad.flatten(), torch.arange(12.0))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_types_stay(kind: torch.dtype) -> None:
    assert rounded_inputs(torch.randn(5).to(kind)).dtype == kind
    assert rounded_weights(torch.randn(5, 2).to(kind)).dtype == kind


def test_a_network_rounds_while_it_trains_and_is_the_same_otherwise() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 4, 1))
    felt = copy.deepcopy(plain)
    names, parameters = list(felt.state_dict()), list(felt.parameters())
    feel_quantization_(felt)
    images = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(felt.eval()(images), plain.eval()(images))
        rounded, exact = felt.train()(images), plain.train()(images)
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, atol=0.05, rtol=0.1)
    assert list(felt.state_dict()) == names
    assert all(one is other for one, other in zip(felt.parameters(), parameters, strict=True))
    assert sum(isinstance(module, RoundedConv2d) for module in felt.modules()) == 2


def test_it_learns_weights_that_survive_rounding() -> None:
    """An outlier makes steps of .31, at which three small weights are lost; one has to take all."""
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 1, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([40.0, 0.06, 0.1, 0.14]).view(1, 4, 1, 1))
    images = torch.ones(8, 4, 1, 1)
    wanted = torch.full((8, 1, 1, 1), 40.3)

    def lost(learned: nn.Conv2d) -> float:
        return float(
            (nn.functional.conv2d(images, rounded_weights(learned.weight)) - wanted).abs().max()
        )

    felt = copy.deepcopy(layer).train()
    feel_quantization_(felt)
    optimizer = torch.optim.SGD(felt.parameters(), lr=0.01)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - step / 400)
        optimizer.zero_grad()
        (felt(images) - wanted).square().mean().backward()
        optimizer.step()
    assert lost(layer) == pytest.approx(0.3, abs=1e-3)
    assert lost(felt) < 0.1


def test_a_training_feels_int8_and_its_average_does_not(
    make_engine: Callable[..., Engine],
) -> None:
    plain = make_engine(precision="fp32")
    names = list(plain.detector.state_dict())
    assert {type(m) for m in plain.detector.modules() if isinstance(m, nn.Conv2d)} == {nn.Conv2d}
    engine = make_engine(quantization_aware=True, precision="fp32")
    kinds = {
        name: type(module)
        for name, module in engine.detector.named_modules()
        if isinstance(module, nn.Conv2d)
    }
    exact = {name for name, kind in kinds.items() if kind is nn.Conv2d}
    assert exact == {f"model.24.m.{level}" for level in range(3)}
    assert set(kinds.values()) == {nn.Conv2d, RoundedConv2d}
    average = engine.average.detector
    assert {type(m) for m in average.modules() if isinstance(m, nn.Conv2d)} == {nn.Conv2d}
    assert list(engine.detector.state_dict()) == names
