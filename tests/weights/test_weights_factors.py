"""Pairs of convolutions in files: told by the tensors' names, of any widths."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from prunus.core.errors import WeightsError
from prunus.model.blocks import ConvBlock
from prunus.model.detector import Detector
from prunus.model.factors import FactorisedConv, pair_like
from prunus.weights.assemble import assemble
from prunus.weights.files import load_weights
from prunus.weights.native import save_weights
from prunus.weights.transfer import adapt_classes

PAIRS = ("model.1", "model.2.m.0.cv2", "model.4.cv2")


@pytest.fixture
def factorised(narrow_detector: Detector) -> Detector:
    """A pruned detector with pairs in a row, in a bottleneck and behind a pooling."""
    for number, name in enumerate(PAIRS):
        block = narrow_detector.get_submodule(name)
        assert isinstance(block, ConvBlock) and isinstance(block.conv, nn.Conv2d)
        block.conv = pair_like(block.conv, rank=3 + number)
        for parameter in block.conv.parameters():
            nn.init.normal_(parameter)
    return narrow_detector


def tensors_of(detector: Detector) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in detector.state_dict().items()}


def rebuilt(detector: Detector, tensors: dict[str, Tensor]) -> Detector:
    return assemble(detector.spec.to_mapping(), detector.names, tensors)


def test_pairs_come_back(tmp_path: Path, factorised: Detector) -> None:
    path = tmp_path / "pairs.safetensors"
    before = torch.get_rng_state()
    save_weights(factorised, path)
    loaded = load_weights(path).detector
    assert torch.get_rng_state().equal(before)
    assert [loaded.get_submodule(name).conv.rank for name in PAIRS] == [3, 4, 5]  # type: ignore[union-attr]
    theirs, ours = factorised.state_dict(), loaded.state_dict()
    assert list(ours) == list(theirs)
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    image = torch.rand(1, 3, 64, 32)
    for raw, wanted in zip(loaded(image), factorised(image), strict=True):
        torch.testing.assert_close(raw, wanted)
    assert not any(parameter.is_meta for parameter in loaded.parameters())


def test_the_header_says_nothing_of_pairs(
    tmp_path: Path, narrow_detector: Detector, factorised: Detector
) -> None:
    save_weights(factorised, tmp_path / "pairs.safetensors")
    with safe_open(tmp_path / "pairs.safetensors", "pt") as file:
        content: dict[str, Any] = json.loads(file.metadata()["prunus"])
    assert content["architecture"] == narrow_detector.spec.to_mapping()


def test_other_classes_leave_pairs_as_they_are(factorised: Detector) -> None:
    adapted, done = adapt_classes(factorised, ("plum", "worm"))
    assert not done.unfitted
    assert isinstance(adapted.model[1].conv, FactorisedConv)
    theirs, ours = factorised.state_dict(), adapted.state_dict()
    assert all(ours[name].equal(theirs[name]) for name in ours if not name.startswith("model.9.m"))
    assert adapted(torch.rand(1, 3, 64, 64))[0].isfinite().all()


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("widen.weight", None, r"lacks the tensor model\.1\.conv\.widen\.weight"),
        ("narrow.weight", None, r"lacks the tensor model\.1\.conv\.weight"),
        ("weight", torch.ones(8, 5, 3, 3), r"has the tensor model\.1\.conv\.narrow\.weight, which"),
        ("narrow.bias", torch.ones(3), r"has the tensor model\.1\.conv\.narrow\.bias, which its"),
        (
            "narrow.weight",
            torch.ones(3, 5, 1, 1),
            r"narrow\.weight: its rows need .*3, 3\), the file",
        ),
        (
            "widen.weight",
            torch.ones(8, 3, 3, 3),
            r"widen\.weight: its rows need .*1, 1\), the file",
        ),
        (
            "widen.weight",
            torch.ones(8, 4, 1, 1),
            r"widen\.weight: .* takes 4 channels, but 3 arrive",
        ),
        ("widen.weight", torch.ones(7, 3, 1, 1), r"model\.1\.bn: has 8 channels, but 7 arrive"),
        ("narrow.weight", torch.ones(0, 5, 3, 3), r"the file has \(0, 5, 3, 3\)"),
    ],
)
def test_half_a_pair_or_one_that_does_not_fit_is_refused(
    name: str, tensor: Tensor | None, message: str, factorised: Detector
) -> None:
    tensors = tensors_of(factorised)
    if tensor is None:
        del tensors[f"model.1.conv.{name}"]
    else:
        tensors[f"model.1.conv.{name}"] = tensor
    with pytest.raises(WeightsError, match=message):
        rebuilt(factorised, tensors)
