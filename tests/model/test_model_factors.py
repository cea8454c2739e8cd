"""Pairs of convolutions in a detector: what they compute, cost, and how they are traced and cut."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from prunus.model.blocks import ConvBlock
from prunus.model.channels.trace import trace
from prunus.model.cost import count_flops, count_parameters, flops_by_layer
from prunus.model.detector import Detector
from prunus.model.factors import FactorisedConv, pair_like
from prunus.model.fuse import fuse
from prunus.prune.proof import cut

ROW = "model.3.conv"


def factorised(detector: Detector, rank: int = 10) -> Detector:
    """Give row 3, a 3x3 convolution at stride 2 (32 → 64), a pair with values of its own."""
    torch.manual_seed(5)
    block = detector.model[3]
    assert isinstance(block, ConvBlock) and isinstance(block.conv, nn.Conv2d)
    block.conv = pair_like(block.conv, rank)
    for parameter in block.conv.parameters():
        nn.init.normal_(parameter, std=0.2)
    return detector.eval()


def test_a_pair_by_hand() -> None:
    conv = nn.Conv2d(1, 2, (1, 2), stride=(1, 2), bias=False)
    pair = pair_like(conv, rank=1)
    pair.narrow.weight.data = torch.tensor([[[[1.0, 2.0]]]])
    pair.widen.weight.data = torch.tensor([3.0, -1.0]).view(2, 1, 1, 1)
    x = torch.tensor([[[[1.0, 1.0, 0.0, 5.0]]]])  # patches (1, 1) and (0, 5): 3 and 10
    assert pair(x).flatten().tolist() == [9.0, 30.0, -3.0, -10.0]
    assert (pair.in_channels, pair.rank, pair.out_channels) == (1, 1, 2)


@pytest.mark.parametrize("bias", [True, False])
def test_a_pair_takes_and_gives_what_the_layer_did(bias: bool) -> None:
    conv = nn.Conv2d(3, 8, 3, stride=2, padding=2, dilation=2, bias=bias).double().eval()
    before = torch.get_rng_state()
    pair = pair_like(conv, rank=4)
    assert torch.get_rng_state().equal(before)
    x = torch.rand(2, 3, 17, 13, dtype=torch.float64)
    assert pair(x).shape == conv(x).shape
    assert (pair.widen.bias is not None, pair.narrow.bias) == (bias, None)
    assert pair.widen.weight.dtype == torch.float64
    assert not pair.training


def test_a_pair_is_the_convolution_with_the_product(nano: Detector) -> None:
    block = factorised(nano).model[3]
    pair = block.conv
    product = torch.einsum("or,rikl->oikl", pair.widen.weight[..., 0, 0], pair.narrow.weight)
    x = torch.rand(2, 32, 16, 16)
    one = block.bn(F.conv2d(x, product, stride=2, padding=1))
    torch.testing.assert_close(block(x), block.act(one), rtol=1e-4, atol=1e-5)


def test_fusing_folds_the_norm_into_the_second(nano: Detector) -> None:
    for module in nano.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    factorised(nano)
    image = torch.rand(1, 3, 64, 64)
    fused = fuse(nano)
    assert isinstance(fused.model[3].conv, FactorisedConv)
    assert fused.model[3].conv.narrow.bias is None
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    for one, other in zip(fused(image), nano(image), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert fuse(fused)(image)[0].equal(fused(image)[0])


def test_costs_by_hand(nano: Detector) -> None:
    dense = count_flops(nano), count_parameters(nano)
    factorised(nano)
    counts = flops_by_layer(nano)
    places = 80 * 80  # stride 8 at 640 px
    assert counts[f"{ROW}.narrow"] == 2 * 32 * 9 * 10 * places
    assert counts[f"{ROW}.widen"] == 2 * 10 * 64 * places
    whole, pair = 32 * 9 * 64, 32 * 9 * 10 + 10 * 64
    assert count_flops(nano) - dense[0] == 2 * (pair - whole) * places
    assert count_parameters(nano) - dense[1] == pair - whole


@pytest.mark.parametrize("place", ["between", "before", "behind"])
def test_channels_around_a_pair_are_cut_exactly(place: str, nano: Detector) -> None:
    factorised(nano)
    image = torch.rand(2, 3, 64, 64)
    table = trace(nano, image)
    tags = {
        "between": table.tags[f"{ROW}.narrow.weight", 0][2:5],
        "before": table.tags[f"{ROW}.narrow.weight", 1][:4],
        "behind": table.tags[f"{ROW}.widen.weight", 0][:4],
    }[place]
    assert tags.equal(
        {
            "between": table.tags[f"{ROW}.widen.weight", 1][2:5],
            "before": table.tags["model.2.cv3.conv.weight", 0][:4],
            "behind": table.tags["model.3.bn.weight", 0][:4],
        }[place]
    )
    done = cut(nano, table, tags, image)
    assert done.error < 1e-5
    shapes = [tuple(w.shape[:2]) for w in done.model.model[3].conv.parameters()]
    assert (
        shapes
        == {
            "between": [(7, 32), (64, 7)],
            "before": [(10, 28), (64, 10)],
            "behind": [(10, 32), (60, 10)],
        }[place]
    )
    assert done.model.model[3].conv.rank == (7 if place == "between" else 10)
