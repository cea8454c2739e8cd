import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunus.core.errors import PruningError
from prunus.model.channels.table import ChannelTable
from prunus.model.channels.trace import trace
from prunus.model.detector import Detector
from prunus.prune.proof import difference
from prunus.prune.repair.batch_norm import recalibrate
from prunus.prune.repair.constants import Fold, fold_constants_
from prunus.prune.surgery import remove

Randomise = Callable[[nn.Module], nn.Module]


def block(inputs: int, outputs: int, kernel: int = 1, padding: int = 0) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.SiLU(),
    )


class Pointwise(nn.Module):
    """1 x 1 convolutions with all that constants must pass: residual, concatenation, pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = block(3, 8), block(8, 8), block(16, 8)
        self.grouped = nn.Conv2d(8, 8, 1, groups=2)
        self.head = nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        both = torch.cat((a + self.b(a), F.max_pool2d(a, 3, 1, 1)), dim=1)
        c = self.c(both)
        return self.head(torch.cat((F.interpolate(c, scale_factor=2), self.up(c)), dim=1))

    def up(self, x: Tensor) -> Tensor:
        return F.interpolate(self.grouped(x), scale_factor=2)


def silence_(network: nn.Module, table: ChannelTable, tags: Tensor) -> None:
    """Do what sparsity training does to the channels: scales (or filters without one) to zero."""
    tensors = dict(network.named_parameters())
    scaled = {name.rpartition(".")[0] for name in table.norms}
    for (name, dimension), held in table.tags.items():
        role = table.roles[name, dimension]
        if role == "scale" or (role == "filter" and name.rpartition(".")[0] not in scaled):
            tensors[name].data.index_fill_(dimension, torch.isin(held, tags).nonzero().flatten(), 0)


def cut_and_fold(
    network: nn.Module, image: Tensor, share: float = 0.5
) -> tuple[nn.Module, nn.Module, Fold]:
    """Silence channels, remove them and fold; return the bare cut, the folded one, the report."""
    table = trace(network, image)
    tags = torch.cat([group.tags[: int(share * len(group))] for group in table.free_groups])
    silence_(network, table, tags)
    smaller = remove(network, table, tags)
    folded = copy.deepcopy(smaller)
    noise = torch.rand(image.shape, dtype=image.dtype)
    return smaller, folded, fold_constants_(folded, network, table, tags, noise)


def test_folding_is_exact_on_pointwise_convolutions(randomised: Randomise) -> None:
    torch.manual_seed(0)
    network = randomised(Pointwise()).eval().double()
    image = torch.rand(2, 3, 6, 6).double()
    smaller, folded, report = cut_and_fold(network, image)
    with torch.no_grad():
        expected = network(image)
        assert difference(smaller(image), expected) > 1e-2
        assert difference(folded(image), expected) < 1e-12
    assert set(report.layers) == {"b.0", "c.0", "grouped", "head"}
    assert report.skipped == ()


def test_folding_is_exact_without_padding_and_inside_of_it(randomised: Randomise) -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 12, 12).double()
    for padding, border in [(0, 0), (1, 1)]:
        network = nn.Sequential(block(3, 8), block(8, 6, 3, padding))
        randomised(network).eval().double()
        _, folded, _ = cut_and_fold(network, image)
        with torch.no_grad():
            outputs, expected = folded(image), network(image)
        inside = slice(border, outputs.shape[-1] - border)
        assert difference(outputs[..., inside, inside], expected[..., inside, inside]) < 1e-12
        if border:
            assert difference(outputs, expected) > 1e-3, (
                "zeros, not constants, lie beyond the border"
            )


def test_folding_into_a_linear_layer(randomised: Randomise) -> None:
    network = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, 4))
    randomised(network).eval().double()
    rows = torch.rand(5, 3).double()
    _, folded, _ = cut_and_fold(network, rows)
    assert difference(folded(rows), network(rows)) < 1e-12


def test_a_layer_that_can_take_no_constant_is_named(randomised: Randomise) -> None:
    network = nn.Sequential(block(3, 8), nn.Conv2d(8, 4, 1, bias=False))
    randomised(network).eval()
    _, _, report = cut_and_fold(network, torch.rand(1, 3, 4, 4))
    assert report == Fold((), ("1",))


def test_folding_mends_a_slimmed_detector(nano: Detector) -> None:
    """With zero-padded borders it is not exact, but far nearer than the bare cut."""
    torch.manual_seed(0)
    image = torch.rand(1, 3, 128, 128)
    smaller, folded, report = cut_and_fold(nano.eval(), image, share=0.25)
    with torch.no_grad():
        expected = nano(image)
        bare, mended = difference(smaller(image), expected), difference(folded(image), expected)
    assert mended < bare / 2
    assert not report.skipped


def test_recalibration_takes_the_statistics_of_the_images() -> None:
    norm = nn.BatchNorm2d(2, momentum=0.03)
    batches = [
        torch.tensor([[[[1.0, 3.0]], [[0.0, 4.0]]]]),
        torch.tensor([[[[5.0, 7.0]], [[2.0, 2.0]]]]),
    ]
    settled = recalibrate(nn.Sequential(norm), batches)[0]
    assert settled.running_mean.tolist() == [4, 2], "means 2 and 6; 2 and 2"
    assert settled.running_var.tolist() == [2, 4], "unbiased: 2 and 2; 8 and 0"
    assert norm.running_mean.tolist() == [0, 0], "the original is left alone"
    assert settled.momentum == 0.03


def test_recalibration_leaves_modes_weights_and_other_layers_alone(nano: Detector) -> None:
    nano.eval()
    nano.model[3].train()
    settled = recalibrate(nano, [torch.rand(2, 3, 64, 64)])
    assert [m.training for m in settled.modules()] == [m.training for m in nano.modules()]
    assert all(
        one.equal(other) for one, other in zip(settled.parameters(), nano.parameters(), strict=True)
    )
    assert not settled.model[0].bn.running_mean.equal(nano.model[0].bn.running_mean)


def test_recalibration_without_images_is_refused(nano: Detector) -> None:
    with pytest.raises(PruningError, match="recalibration: there are no images"):
        recalibrate(nano, [])
