"""Zeros of one network given to another."""

from typing import Any

import pytest
import torch
from torch import nn

from prunus.core.config import parse
from prunus.core.errors import ConfigError, PruningError
from prunus.model.zeros import weights_of
from prunus.prune.masks.choose import sparsify
from prunus.prune.masks.config import SparsifyConfig
from prunus.prune.masks.like import set_zeros_like_


def network(seed: int, width: int = 8) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(4, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, 2, 1))


def test_values_by_hand() -> None:
    ours, theirs = nn.Linear(3, 1), nn.Linear(3, 1)
    ours.weight.data = torch.tensor([[5.0, 6.0, 0.0]])
    theirs.weight.data = torch.tensor([[0.0, 1.0, 2.0]])
    theirs.bias.data.zero_()
    bias = ours.bias.detach().clone()
    outcome = set_zeros_like_(ours, theirs)
    assert ours.weight.tolist() == [[0.0, 6.0, 0.0]], "a zero of its own stays one"
    assert ours.bias.equal(bias)
    assert theirs.weight.tolist() == [[0.0, 1.0, 2.0]]
    assert outcome.share == pytest.approx(2 / 3)


def test_kept_weights_are_untouched_to_the_last_bit() -> None:
    early, late = network(0), network(1)
    before = {name: tensor.clone() for name, tensor in early.state_dict().items()}
    sparsify(late, 0.5)
    outcome = set_zeros_like_(early, late)
    masks = {f"{name}.weight": weight != 0 for name, weight in weights_of(late).items()}
    for name, tensor in early.state_dict().items():
        kept = masks.get(name, torch.ones_like(tensor, dtype=torch.bool))
        assert tensor[kept].equal(before[name][kept])
        assert not tensor[~kept].any()
    assert outcome.share == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (network(1), r"--like: no weight is zero there\. Give what `prunus sparsify` wrote\."),
        (network(1, 6), r"--like: 0: its weights are 6x4x3x3 there and 8x4x3x3 here\. Give a"),
        (network(1)[:2], r"--like: 2: its weights are missing there and 2x8x1x1 here"),
    ],
)
def test_what_does_not_fit_is_refused(other: nn.Module, words: str) -> None:
    ours = network(0)
    before = ours[0].weight.detach().clone()
    with pytest.raises(PruningError, match=words):
        set_zeros_like_(ours, other)
    assert ours[0].weight.equal(before)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"amount": 0.5}, r"--amount: --like says already what goes\. Leave out one of them\."),
        ({"nm": "2:4", "scope": "global"}, r"--nm and --scope: --like says already"),
        ({"seed": 3, "method": "random"}, r"--method and --seed: --like says already"),
    ],
)
def test_a_file_decides_alone(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(SparsifyConfig, {"weights": "w.pt", "like": "sparse.safetensors", **values})


def test_with_a_file_there_is_no_share() -> None:
    settings = parse(SparsifyConfig, {"weights": "w.pt", "like": "sparse.safetensors"})
    assert settings.share is None
