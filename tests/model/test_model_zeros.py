"""Choices of weights, and N:M: by hand, for any shape, and against torch's own pruning."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from prunus.core.shares import Pattern
from prunus.model.nm import PatternCheck, check_nm, check_nm_arrays, nm_table, speed_note, why_not
from prunus.model.zeros import beyond, lowest, lowest_of_each, weights_of

patterns = st.integers(2, 8).flatmap(
    lambda group: st.builds(Pattern, st.integers(1, group - 1), st.just(group))
)


def values(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_two_highest_of_four_stay() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.3, 0.2, 4.0, 1.0, 2.0, 3.0]])
    gone = torch.tensor([[True, False, False, True, False, True, True, False]])
    assert beyond(scores, Pattern(2, 4)).equal(gone)


def test_groups_lie_along_the_input_channels_of_each_filter_and_kernel_position() -> None:
    scores = torch.zeros(2, 4, 1, 2)
    scores[0, :, 0, 0] = torch.tensor([4.0, 3.0, 2.0, 1.0])
    scores[0, :, 0, 1] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    scores[1, :, 0, 0] = torch.tensor([1.0, 9.0, 9.0, 1.0])
    scores[1, :, 0, 1] = torch.tensor([9.0, 1.0, 1.0, 9.0])
    stays = ~beyond(scores, Pattern(2, 4))
    assert stays[0, :, 0, 0].tolist() == [True, True, False, False]
    assert stays[0, :, 0, 1].tolist() == [False, False, True, True]
    assert stays[1, :, 0, 0].tolist() == [False, True, True, False]
    assert stays[1, :, 0, 1].tolist() == [True, False, False, True]


@given(
    pattern=patterns,
    out=st.integers(1, 5),
    groups=st.integers(1, 4),
    kernel=st.lists(st.integers(1, 3), max_size=3),
    seed=st.integers(0, 999),
    equal=st.booleans(),
)
def test_any_shape_keeps_exactly_n_of_every_m(
    pattern: Pattern, out: int, groups: int, kernel: list[int], seed: int, equal: bool
) -> None:
    shape = (out, groups * pattern.group, *kernel)
    weight = torch.ones(shape) if equal else values(shape, seed)
    gone = beyond(weight.abs(), pattern)
    assert gone.shape == weight.shape
    assert gone.float().mean().item() == pytest.approx(pattern.zeros)
    (check,) = check_nm_arrays({"w": weight.masked_fill(gone, 0)}, *pattern)
    assert check == PatternCheck("w", weight.numel() // pattern.group, 0)
    (dense,) = check_nm_arrays({"w": weight}, *pattern)
    assert dense.violations == dense.groups, "every group of a dense layer breaks the pattern"
    for kept, lost in _pairs(weight.abs(), gone, pattern.group):
        assert kept.min() >= lost.max()


def _pairs(sizes: Tensor, gone: Tensor, group: int) -> list[tuple[Tensor, Tensor]]:
    found = []
    for filter_ in range(sizes.shape[0]):
        rows = sizes[filter_].reshape(sizes.shape[1], -1)
        masks = gone[filter_].reshape(sizes.shape[1], -1)
        for start in range(0, sizes.shape[1], group):
            for column in range(rows.shape[1]):
                row = rows[start : start + group, column]
                mask = masks[start : start + group, column]
                found.append((row[~mask], row[mask]))
    return found


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    amount=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_any_share_of_any_layers_is_met_exactly(sizes: list[int], amount: float, seed: int) -> None:
    scores = [values((size, 2), seed + n).abs() for n, size in enumerate(sizes)]
    together = lowest(scores, amount)
    total = sum(score.numel() for score in scores)
    assert sum(int(mask.sum()) for mask in together) == round(amount * total)
    for mask, score in zip(lowest_of_each(scores, amount), scores, strict=True):
        assert int(mask.sum()) == round(amount * score.numel())


@pytest.mark.parametrize("amount", [0.2, 0.7])
def test_agrees_with_torch_globally(amount: float) -> None:
    layers = [nn.Conv2d(4, 6, 3), nn.Linear(8, 5), nn.Conv1d(3, 2, 5)]
    masks = lowest([layer.weight.detach().abs() for layer in layers], amount)
    torch_prune.global_unstructured(
        [(layer, "weight") for layer in layers],
        pruning_method=torch_prune.L1Unstructured,
        amount=amount,
    )
    for layer, mask in zip(layers, masks, strict=True):
        assert (~mask).float().equal(layer.weight_mask)


def test_weights_are_those_of_convolutions_and_linears_and_shared_ones_count_once() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 4), nn.Linear(4, 4), nn.LayerNorm(4)
    )
    model[3].weight = model[2].weight
    assert list(weights_of(model)) == ["0", "2"]


def test_each_layer_says_its_groups_and_violations_or_why_it_is_dense() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3, groups=2), nn.Linear(16, 2))
    with torch.no_grad():
        model[1].weight[:, 2:] = 0
        model[2].weight[0] = 0
    checks = check_nm(model, 2, 4)
    assert checks == (
        PatternCheck("0", 0, 0, "3 input channels: no multiple of 4"),
        PatternCheck("1", 16 * 9, 0),
        PatternCheck("2", 8, 4),
    )
    lines = nm_table(checks, Pattern(2, 4)).splitlines()
    assert lines[0] == "2:4 along the input channels"
    assert lines[3].endswith("dense: 3 input channels: no multiple of 4")
    assert lines[5].split() == ["2", "8", "4"]


def test_numpy_arrays_are_checked_as_tensors_are() -> None:
    array = np.array([[1.0, 0.0, 2.0, 0.0], [1.0, 1.0, 1.0, 0.0]], dtype=np.float32)
    (check,) = check_nm_arrays({"w": array}, 2, 4)
    assert (check.groups, check.violations) == (2, 1)
    (bias,) = check_nm_arrays({"b": array[0]}, 2, 4)
    assert bias.reason == "no input channels"


def test_a_depthwise_layer_has_one_channel_and_stays_dense() -> None:
    assert why_not(nn.Conv2d(8, 8, 3, groups=8).weight, Pattern(2, 4)) == (
        "1 input channel: no multiple of 4"
    )


def test_each_kind_of_zeros_says_what_it_does_not_speed_up() -> None:
    assert "dense runtimes gain no speed" in speed_note(None)
    ampere = speed_note(Pattern(2, 4))
    assert "2:4 runs faster only on NVIDIA GPUs of the Ampere generation" in ampere
    assert "fp16, bf16 or int8" in ampere and "CPUs" in ampere
    assert speed_note(Pattern(1, 4)).startswith("1:4, run as 2:4, runs faster only")
    assert "4:8 is taken by no sparse tensor core" in speed_note(Pattern(4, 8))
