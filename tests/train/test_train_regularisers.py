"""The contract every row of REGULARISERS keeps, then each by hand and against its formula."""

import pytest
import torch
from torch import Tensor

from prunus.core.errors import TrainingError
from prunus.train.regularisers import (
    REGULARISERS,
    Regulariser,
    find_regulariser,
    group,
    polarization,
)

every_regulariser = pytest.mark.parametrize(
    "shrink", REGULARISERS.values(), ids=REGULARISERS.keys()
)
COUPLED = [torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, -1])]


def gammas(seed: int = 0) -> list[Tensor]:
    torch.manual_seed(seed)
    return [torch.randn(4), torch.randn(3)]


@every_regulariser
def test_without_a_pull_nothing_moves(shrink: Regulariser) -> None:
    for one, other in zip(shrink(gammas(), COUPLED, 0.0), gammas(), strict=True):
        torch.testing.assert_close(one, other)


@every_regulariser
def test_no_gamma_changes_its_sign_and_the_input_stays(shrink: Regulariser) -> None:
    before = gammas()
    for pull in (0.01, 0.3, 2.0):
        for one, other in zip(shrink(before, COUPLED, pull), before, strict=True):
            assert (one * other >= 0).all()
    for one, other in zip(before, gammas(), strict=True):
        assert torch.equal(one, other)


@every_regulariser
def test_many_pulls_bring_the_weakest_channel_to_zero(shrink: Regulariser) -> None:
    values = [torch.tensor([1.0, 0.1, 0.8, 1.2]), torch.tensor([0.9, 0.1, 5.0])]
    for _ in range(20):
        values = shrink(values, COUPLED, 0.01)
    assert values[0][1] == values[1][1] == 0
    assert values[0][3] > 0.9


@every_regulariser
def test_a_mirror_image_is_pulled_like_the_original(shrink: Regulariser) -> None:
    mirrored = shrink([-value for value in gammas()], COUPLED, 0.2)
    for one, other in zip(shrink(gammas(), COUPLED, 0.2), mirrored, strict=True):
        torch.testing.assert_close(one, -other)


def test_group_lasso_by_hand() -> None:
    values = [torch.tensor([3.0, 0.5]), torch.tensor([4.0, 7.0])]
    channels = [torch.tensor([0, 1]), torch.tensor([0, -1])]
    first, second = group.shrink(values, channels, 0.5)
    factor = 1 - 0.5 * 2**0.5 / 5
    torch.testing.assert_close(first, torch.tensor([3 * factor, 0.0]))
    torch.testing.assert_close(second, torch.tensor([4 * factor, 7.0]))


@pytest.mark.parametrize("seed", range(3))
def test_a_group_step_minimises_distance_plus_norm(seed: int) -> None:
    torch.manual_seed(seed)
    start, pull = torch.randn(4), 0.4
    channels = torch.zeros(4, dtype=torch.int64)
    (end,) = group.shrink([start], [channels], pull)

    def cost(value: Tensor) -> Tensor:
        return (value - start).square().sum() / 2 + pull * 2 * value.norm()

    assert all(cost(end) <= cost(end + 0.05 * torch.randn(4)) for _ in range(200))


def test_equal_and_lone_gammas_are_pulled_as_by_l1() -> None:
    l1 = find_regulariser("l1")
    lone = [torch.tensor([0.5, -1.0, 0.2])], [torch.tensor([0, 1, 2])], 0.3
    assert torch.allclose(group.shrink(*lone)[0], l1(*lone)[0])
    equal = [torch.full((3,), 0.7)], [torch.zeros(3, dtype=torch.int64)], 0.3
    assert torch.allclose(group.shrink(*equal)[0], l1(*equal)[0])


@pytest.mark.parametrize("seed", range(3))
def test_polarization_follows_the_gradient_of_its_formula(seed: int) -> None:
    torch.manual_seed(seed)
    values = (torch.rand(9) * 0.8 + 0.1).requires_grad_()
    cost = polarization.T * values.abs().sum() - (values.abs() - values.abs().mean()).abs().sum()
    (gradient,) = torch.autograd.grad(cost, values)
    (moved,) = polarization.shrink([values.detach()], [torch.arange(9)], 1e-3)
    torch.testing.assert_close(moved, values.detach() - 1e-3 * gradient)


def test_polarization_opens_a_gap_and_stops_at_its_ceiling() -> None:
    values = torch.linspace(0.05, 0.95, 10)
    for _ in range(3000):
        (values,) = polarization.shrink([values], [torch.arange(10)], 1e-3)
    zero, rest = values == 0, values[values > 0]
    assert 4 <= zero.sum() <= 8
    assert rest.min() > 0.5
    assert rest.max() <= 1.0
    (large,) = polarization.shrink([torch.tensor([3.0, 0.1])], [torch.arange(2)], 0.01)
    assert large[0] <= 3.0


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(TrainingError, match=r"no regulariser 'grop'\. Did you mean 'group'"):
        find_regulariser("grop")
