"""Activations: their values, the words that mean them, and detectors that end in another one."""

import pytest
import torch
from torch import nn

from prunus.core.errors import ModelError
from prunus.model.activations import ACTIVATIONS, activation_name
from prunus.model.blocks import ConvBlock
from prunus.model.build import build_detector
from prunus.model.channels.trace import trace
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.layers import layer_shapes
from prunus.model.spec import arch_from_mapping, read_arch
from prunus.model.swap import set_activation_, with_activation
from prunus.prune.proof import cut
from prunus.prune.repair.constants import fold_constants_

every_activation = pytest.mark.parametrize("name", ACTIVATIONS)

BY_HAND = {  # of -2, -1 and 3
    "silu": [-2 / (1 + 2.718281828**2), -1 / (1 + 2.718281828), 3 / (1 + 2.718281828**-3)],
    "relu": [0.0, 0.0, 3.0],
    "hardswish": [-2 * 1 / 6, -1 * 2 / 6, 3.0],
    "leaky_relu": [-0.2, -0.1, 3.0],
}


def test_every_activation_has_values_by_hand() -> None:
    assert BY_HAND.keys() == ACTIVATIONS.keys()


@every_activation
def test_values_by_hand(name: str) -> None:
    said = ACTIVATIONS[name].make()(torch.tensor([-2.0, -1.0, 3.0]))
    torch.testing.assert_close(said, torch.tensor(BY_HAND[name]))


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("nn.SiLU()", "silu"),
        ("nn.ReLU()", "relu"),
        ("torch.nn.ReLU( inplace=True )", "relu"),
        ("nn.Hardswish()", "hardswish"),
        ("nn.LeakyReLU(0.1)", "leaky_relu"),
        ("nn.LeakyReLU(0.1, inplace=True)", "leaky_relu"),
        ("ReLU", "relu"),
        *((name, name) for name in ACTIVATIONS),
    ],
)
def test_words_for_activations(word: str, name: str) -> None:
    assert activation_name(word, "here") == name


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("nn.ReLo()", r"mine\.yaml: no activation 'nn\.ReLo\(\)'\. Did you mean 'relu"),
        ("nn.LeakyReLU(0.2)", r"Did you mean 'leakyrelu\(0\.1\)'\? Give one of nn\.SiLU\(\), "),
        ("__import__('os').remove('x')", r"no activation .* Give one of"),
        (7, r"mine\.yaml: no activation 7\. Give one of"),
    ],
)
def test_an_unknown_activation_is_refused_with_what_there_is(word: object, message: str) -> None:
    content = {**read_arch("yolov5n").to_mapping(), "activation": word}
    with pytest.raises(ModelError, match=message):
        arch_from_mapping(content, "mine.yaml")


@every_activation
def test_an_architecture_names_its_activation_unless_it_is_silu(name: str) -> None:
    mapping = read_arch("yolov5n").to_mapping()
    assert "activation" not in mapping
    spec = arch_from_mapping({**mapping, "activation": ACTIVATIONS[name].spelling}, "again")
    assert spec.activation == name
    assert arch_from_mapping(spec.to_mapping(), "again") == spec
    assert spec.to_mapping().get("activation") == (
        None if name == "silu" else ACTIVATIONS[name].spelling
    )
    detector = build_detector(spec, ["plum"])
    assert {type(block.act) for block in blocks(detector)} == {type(ACTIVATIONS[name].make())}


def test_swapping_keeps_every_tensor_and_the_original(nano: Detector) -> None:
    nano.eval()
    swapped = with_activation(nano, "nn.ReLU()")
    assert nano.spec.activation == "silu"
    assert swapped.spec.activation == "relu"
    assert {type(block.act) for block in blocks(nano)} == {nn.SiLU}
    assert {type(block.act) for block in blocks(swapped)} == {nn.ReLU}
    assert not any(module.training for module in swapped.modules())
    for name, tensor in nano.state_dict().items():
        assert swapped.state_dict()[name].equal(tensor)
    image = torch.rand(1, 3, 64, 64)
    assert not swapped(image)[0].equal(nano(image)[0])
    back = with_activation(swapped, "silu")
    assert back(image)[0].equal(nano(image)[0])
    with pytest.raises(ModelError, match=r"activation: no activation 'relo'\. Did you mean 'relu"):
        set_activation_(nano, "relo")


@every_activation
def test_a_block_is_convolution_norm_and_activation(name: str, nano: Detector) -> None:
    set_activation_(nano, name)
    block = nano.model[0]
    image = torch.rand(2, 3, 32, 32)
    expected = ACTIVATIONS[name].make()(block.bn(block.conv(image)))
    torch.testing.assert_close(block(image), expected)


@every_activation
def test_fusing_and_swapping_go_in_either_order(name: str, nano: Detector) -> None:
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        pairs = zip(
            fuse(with_activation(nano, name))(image),
            with_activation(fuse(nano), name)(image),
            strict=True,
        )
    assert all(one.equal(other) for one, other in pairs)


@every_activation
def test_what_a_runtime_prices_has_the_activation(name: str, nano: Detector) -> None:
    shapes = layer_shapes(with_activation(nano, name), torch.zeros(1, 3, 64, 64))
    assert shapes["model.9.cv1.conv.weight"].activation == type(ACTIVATIONS[name].make()).__name__


@every_activation
def test_a_cut_is_exact_and_silent_channels_leave_their_constants(
    name: str, nano: Detector
) -> None:
    """Channels whose scale is zero say act(beta), whatever act is; their 1x1 readers take it."""
    set_activation_(nano, name)
    nano.eval()
    norm = nano.model[2].m[0].cv2.bn
    nn.init.uniform_(norm.bias, 0.5, 1.0)
    cv1, cv2, cv3 = nano.model[2].cv1.bn, nano.model[2].cv2.bn, nano.model[2].cv3
    for silent in (norm, cv1, cv2):
        nn.init.zeros_(silent.weight.data[:4])
        nn.init.constant_(silent.bias.data[:4], 0.75)
    image = torch.rand(2, 3, 64, 64)
    table = trace(nano, image)
    tags = table.tags["model.2.cv2.conv.weight", 0][:4]
    smaller = cut(nano, table, tags, image).model
    fold_constants_(smaller, nano, table, tags, image)
    assert smaller.model[2].cv3.conv.in_channels == cv3.conv.in_channels - 4
    with torch.no_grad():
        torch.testing.assert_close(smaller(image)[0], nano(image)[0], rtol=1e-4, atol=1e-5)


def blocks(detector: Detector) -> list[ConvBlock]:
    return [module for module in detector.modules() if isinstance(module, ConvBlock)]
