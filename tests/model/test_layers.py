"""What a runtime sees of each layer: kernel, size, what follows, how often."""

import pytest
import torch
from torch import Tensor, nn

from prunus.model.detector import Detector
from prunus.model.layers import DEPTHWISE, LayerShape, layer_shapes, sized_layers


class Small(nn.Module):
    """A bit of everything; `by_values` makes it impossible on meta tensors."""

    def __init__(self, by_values: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding="valid", bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.SiLU(inplace=True)
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.relu = nn.ReLU()
        self.grouped = nn.Conv2d(8, 12, 1, groups=2)
        self.shared = nn.Conv2d(12, 12, 3, padding="same")
        self.up = nn.ConvTranspose2d(12, 6, 2, stride=2)
        self.linear = nn.Linear(6, 5)
        self.unused = nn.Conv2d(3, 3, 1)
        self.by_values = by_values

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.stem(x)))
        x = self.grouped(self.relu(self.deep(x)))
        x = self.shared(self.shared(x))
        x = self.shared(nn.functional.max_pool2d(x, 2)) + 1
        x = self.up(x)
        if self.by_values and float(x.sum()) == 12345.0:
            return x
        return self.linear(x.permute(0, 2, 3, 1)).relu()


@pytest.mark.parametrize("by_values", [False, True])
def test_each_layer_has_its_kernel_size_and_what_follows_it(by_values: bool) -> None:
    model = Small(by_values)

    shapes = layer_shapes(model, torch.rand(2, 3, 21, 17))

    pair = (1, 1)
    assert shapes == {
        "stem.weight": LayerShape(
            "conv", (3, 3), (2, 2), (0, 0), pair, 1, (21, 17), "SiLU", batch=2
        ),
        "deep.weight": LayerShape(
            "conv", (3, 3), pair, pair, pair, DEPTHWISE, (10, 8), "ReLU", batch=2
        ),
        "grouped.weight": LayerShape("conv", pair, pair, (0, 0), pair, 2, (10, 8), "", batch=2),
        "shared.weight": LayerShape(
            "conv", (3, 3), pair, pair, pair, 1, (10, 8), "", calls=2, batch=2
        ),
        "shared.weight@5x4": LayerShape("conv", (3, 3), pair, pair, pair, 1, (5, 4), "", batch=2),
        "up.weight": LayerShape("transposed", (2, 2), (2, 2), (0, 0), pair, 1, (5, 4), "", batch=2),
        "linear.weight": LayerShape("linear", (), (), (), (), 1, (2 * 10 * 8,), ""),
    }


def test_widths_count_all_groups_and_both_kinds_of_weight() -> None:
    sized = sized_layers(Small(), torch.rand(1, 3, 20, 20))

    widths = {name: layer[1:] for name, layer in sized.items()}
    assert widths == {
        "stem.weight": (3, 8),
        "deep.weight": (8, 8),
        "grouped.weight": (8, 12),
        "shared.weight": (12, 12),
        "shared.weight@4x4": (12, 12),
        "up.weight": (12, 6),
        "linear.weight": (6, 5),
    }


def test_the_network_is_left_as_it_was() -> None:
    model = Small().train()
    model.norm.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    layer_shapes(model, torch.rand(1, 3, 20, 20))

    assert model.training and not model.norm.training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


def test_a_broken_network_is_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        layer_shapes(nn.Linear(4, 2), torch.rand(1, 5))


def test_a_detector_costs_nothing_at_its_real_size(nano: Detector) -> None:
    shapes = layer_shapes(nano, torch.empty(1, 3, 640, 480, device="meta"))

    assert len(shapes) == sum(isinstance(module, nn.Conv2d) for module in nano.modules())
    assert shapes["model.0.conv.weight"].size_hw == (640, 480)
    assert shapes["model.9.cv1.conv.weight"].size_hw == (20, 15)
    assert shapes["model.9.cv1.conv.weight"].activation == "SiLU"
    assert shapes["model.24.m.0.weight"].activation == ""


def test_only_equal_shapes_have_equal_labels() -> None:
    shapes = layer_shapes(Small(), torch.rand(1, 3, 20, 20)).values()
    assert len({shape.label() for shape in shapes}) == len({shape.once() for shape in shapes})
