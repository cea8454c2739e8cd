import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunus.core.errors import PruningError
from prunus.data.index import build_index
from prunus.data.loader import validation_batches
from prunus.data.spec import read_data
from prunus.model.channels.table import ChannelTable
from prunus.model.channels.trace import trace
from prunus.model.detector import Detector
from prunus.prune.detectors import probe
from prunus.prune.proof import difference
from prunus.prune.repair.carrier import PAYS, Carried, carry_constants_, reserve, worth
from prunus.prune.repair.constants import fold_constants_
from prunus.prune.surgery import remove
from prunus.weights.files import load_weights

Randomise = Callable[[nn.Module], nn.Module]
EXACT = 1e-12
"""In double precision."""
SILU_INVERSE = 1.2784645427610738
"""x / (1 + exp(-x)) = 1."""


def block(
    inputs: int, outputs: int, kernel: int = 3, act: type[nn.Module] = nn.SiLU
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        act(),
    )


class Chain(nn.Module):
    """Padded readers right behind the layer that loses channels."""

    def __init__(self, act: type[nn.Module] = nn.SiLU) -> None:
        super().__init__()
        self.a, self.head = block(3, 8, act=act), nn.Conv2d(8, 4, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.a(x))
        return result


class Residual(nn.Module):
    """Three layers make the same channels; readers find one, two and three constants summed."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = block(3, 8), block(8, 8), block(8, 8), block(8, 8)
        self.head = nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        b = a + self.b(a)
        c = b + self.d(self.c(b))
        result: Tensor = self.head(c)
        return result


class Joins(nn.Module):
    """Upsampling, chained poolings (SPPF) and concatenations; readers padded and not."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = block(3, 8), block(8, 8, 1)
        self.c, self.d = block(32, 8, 1), block(8, 6)
        self.up = nn.Upsample(scale_factor=2)
        self.grouped = nn.Conv2d(16, 8, 3, padding=1, groups=2)
        self.transposed = nn.ConvTranspose2d(8, 4, 3, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        a = self.a(x)
        pools = [self.b(a)]
        for _ in range(3):
            pools.append(F.max_pool2d(pools[-1], 5, 1, 2))
        c = self.c(torch.cat(pools, dim=1))
        both = torch.cat((self.up(c), self.up(a)), dim=1)
        return self.grouped(both), self.d(pools[2]), self.transposed(c)


class Depthwise(nn.Module):
    """A depthwise layer between: it reads and makes the same channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a = block(3, 8)
        self.between = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.Hardswish()
        )
        self.head = nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.between(self.a(x)))
        return result


class Bare(nn.Module):
    """No batch norm, no activation: a bias makes the constant; readers take no bias at all."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3)
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 4, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.b(self.a(x)))
        return result


class Linear(nn.Module):
    """Rows instead of pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.stack(x.flatten(2).movedim(1, 2))
        return result


EVERY_NETWORK = [Chain, Residual, Joins, Depthwise, Bare, Linear]


def make(kind: Callable[[], nn.Module], randomised: Randomise) -> nn.Module:
    torch.manual_seed(0)
    return randomised(kind()).eval().double()


def silence_(network: nn.Module, table: ChannelTable, tags: Tensor) -> None:
    """Do what sparsity training does: scales (or filters without one) to zero; offsets stay."""
    tensors = dict(network.named_parameters())
    scaled = set(table.norms)
    for (name, dimension), held in table.tags.items():
        role = table.roles[name, dimension]
        if role == "scale" or (role == "filter" and name not in scaled):
            tensors[name].data.index_fill_(dimension, torch.isin(held, tags).nonzero().flatten(), 0)


def picture(side: int = 9) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(3)).double()


def cut_half(network: nn.Module) -> tuple[ChannelTable, Tensor]:
    """Silence half of the channels of every group."""
    table = trace(network, picture())
    tags = torch.cat([group.tags[: len(group) // 2] for group in table.free_groups])
    silence_(network, table, tags)
    return table, tags


def carry(
    network: nn.Module, table: ChannelTable, tags: Tensor, groups: list[str] | None = None
) -> tuple[nn.Module, Carried]:
    names = [group.name for group in table.free_groups] if groups is None else groups
    reserved = reserve(network, table, tags, names)
    smaller = remove(network, table, reserved.tags)
    noise = torch.randn(1, 3, 8, 8).double()
    return smaller, carry_constants_(
        smaller, network, table, reserved.tags, noise, reserved.carriers
    )


@pytest.mark.parametrize("kind", EVERY_NETWORK)
def test_the_network_says_the_same_borders_included(
    kind: Callable[[], nn.Module], randomised: Randomise
) -> None:
    network = make(kind, randomised)
    table, tags = cut_half(network)
    smaller, carried = carry(network, table, tags)
    with torch.no_grad():
        assert difference(smaller(picture()), network(picture())) < EXACT
        dropped = remove(network, table, tags)
        assert difference(dropped(picture()), network(picture())) > 1e-2
    assert carried.skipped == {}
    assert set(carried.groups) == {group.name for group in table.free_groups}
    assert carried.fold.layers == () and carried.fold.skipped == ()
    assert carried.residual < EXACT


@pytest.mark.parametrize("kind", EVERY_NETWORK)
def test_with_a_carrier_in_one_group_the_others_are_folded(
    kind: Callable[[], nn.Module], randomised: Randomise
) -> None:
    """What either does is done once: inside, both are exact."""
    network = make(kind, randomised)
    table, tags = cut_half(network)
    folded = remove(network, table, tags)
    fold_constants_(folded, network, table, tags, picture())
    errors = {}
    with torch.no_grad():
        expected = network(picture())
        for group in table.free_groups:
            smaller, carried = carry(network, table, tags, [group.name])
            errors[group.name] = difference(smaller(picture()), expected)
            assert carried.groups == (group.name,)
        assert min(errors.values()) <= difference(folded(picture()), expected) + EXACT


def test_by_hand() -> None:
    """One removed channel says silu(2); the 3 x 3 reader finds it in 4 places at a corner."""
    network = nn.Sequential(block(1, 3), nn.Conv2d(3, 1, 3, padding=1)).eval().double()
    network[0][1].weight.data = torch.tensor([0.0, 0.0, 1.0]).double()
    network[0][1].bias.data = torch.tensor([2.0, -1.0, 0.0]).double()
    image = torch.rand(1, 1, 6, 6).double()
    table = trace(network, image)
    (group,) = table.free_groups
    reserved = reserve(network, table, group.tags[:1], [group.name])
    assert reserved.carriers == {group.name: int(group.tags[1])}, "the other dead one: it is free"
    assert reserved.tags.tolist() == group.tags[:1].tolist()
    smaller = remove(network, table, reserved.tags)
    carry_constants_(smaller, network, table, reserved.tags, image, reserved.carriers)
    norm, reader = smaller[0][1], smaller[1]
    assert norm.weight.tolist() == [0, 1]
    assert norm.bias[0].item() == pytest.approx(SILU_INVERSE, abs=1e-5)
    said = F.silu(torch.tensor([2.0, -1.0]).double())
    wanted = torch.einsum("oihw,i->ohw", network[1].weight[:, :2], said)
    torch.testing.assert_close(reader.weight[:, 0], wanted, rtol=1e-5, atol=0)
    with torch.no_grad():
        assert difference(smaller(image), network(image)) < EXACT


@pytest.mark.parametrize("act", [nn.Identity, nn.ReLU, nn.Sigmoid, nn.Tanh, nn.PReLU, nn.GELU])
def test_any_activation(act: type[nn.Module], randomised: Randomise) -> None:
    """Those that never say 1 are divided by what they say."""
    network = make(lambda: Chain(act), randomised)
    table, tags = cut_half(network)
    smaller, carried = carry(network, table, tags)
    assert carried.skipped == {}
    with torch.no_grad():
        assert difference(smaller(picture()), network(picture())) < EXACT
    if act in (nn.Identity, nn.ReLU, nn.PReLU):
        assert smaller.a[1].bias[0].item() == pytest.approx(1)


def test_without_scores_one_removed_channel_stays_and_with_them_the_width_does(
    randomised: Randomise,
) -> None:
    network = make(Chain, randomised)
    table, tags = cut_half(network)
    (group,) = table.free_groups
    extra = reserve(network, table, tags, [group.name])
    assert len(extra.tags) == 3 and extra.carriers[group.name] in tags.tolist()
    scores = {group.name: torch.tensor([0.0, 0, 0, 0, 4, 2, 1, 3])}
    same = reserve(network, table, tags, [group.name], scores=scores)
    assert same.tags.equal(tags) and same.carriers[group.name] == int(group.tags[6])
    smaller = remove(network, table, same.tags)
    carried = carry_constants_(smaller, network, table, same.tags, picture(), same.carriers)
    assert smaller.a[0].out_channels == 4
    assert carried.residual < EXACT, "the constants are right"
    with torch.no_grad():
        lost = difference(smaller(picture()), network(picture()))
        silence_(network, table, group.tags[6:7])
        assert lost > 1e-3, "what the sacrificed channel said is lost"
        assert difference(smaller(picture()), network(picture())) < EXACT


def test_worth_is_the_error_of_the_fold(randomised: Randomise) -> None:
    network = make(Chain, randomised)
    table, tags = cut_half(network)
    folded = remove(network, table, tags)
    fold_constants_(folded, network, table, tags, picture())
    with torch.no_grad():
        expected = network(picture())
        error = (folded(picture()) - expected).square().mean().sqrt()
    varies = expected - expected.mean(dim=(0, 2, 3), keepdim=True)
    (found,) = worth(network, table, tags, picture()).values()
    assert found == pytest.approx(float(error / varies.square().mean().sqrt()), rel=1e-6)


def test_worth_is_nothing_where_the_fold_is_exact_or_nothing_was_said(
    randomised: Randomise,
) -> None:
    network = make(lambda: nn.Sequential(block(3, 8), nn.Conv2d(8, 4, 1)), randomised)
    table, tags = cut_half(network)
    assert list(worth(network, table, tags, picture()).values()) == pytest.approx([0], abs=1e-12)
    silent = make(lambda: Chain(nn.ReLU), randomised)
    silent.a[1].bias.data.fill_(-1)
    table, tags = cut_half(silent)
    assert list(worth(silent, table, tags, picture()).values()) == [0]


def test_worth_falls_as_pictures_grow(randomised: Randomise) -> None:
    network = make(Chain, randomised)
    table, tags = cut_half(network)
    small, large = (
        next(iter(worth(network, table, tags, picture(side)).values())) for side in (8, 64)
    )
    assert 0 < large < small / 2


class Faded(nn.Module):
    """A map that is no constant any more when it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.head = block(3, 8), nn.Conv2d(8, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(F.pad(self.a(x), (1, 1, 1, 1)))
        return result


class Cancelled(nn.Module):
    """What one layer says, another takes away."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = block(3, 8), block(3, 8), nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.a(x) - self.b(x))
        return result


@pytest.mark.parametrize(
    ("kind", "why"), [(Faded, "is not constant"), (Cancelled, "constant and other than zero")]
)
def test_a_group_that_cannot_have_one_keeps_its_channel_and_is_folded(
    kind: type[nn.Module], why: str, randomised: Randomise
) -> None:
    network = make(kind, randomised)
    table, tags = cut_half(network)
    (group,) = table.free_groups
    smaller, carried = carry(network, table, tags)
    assert carried.groups == () and why in carried.skipped[group.name]
    assert carried.fold.layers == ("head",)
    folded = remove(network, table, tags[1:])
    fold_constants_(folded, network, table, tags[1:], torch.randn(1, 3, 8, 8).double())
    with torch.no_grad():
        assert smaller.a[0].out_channels == 5
        assert difference(smaller(picture()), folded(picture())) < EXACT


def test_a_channel_that_no_offset_can_move_is_not_offered(randomised: Randomise) -> None:
    class Mute(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 8, 3, bias=False)
            self.head = nn.Conv2d(8, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.head(self.a(x).sigmoid())
            return result

    network = make(Mute, randomised)
    table, tags = cut_half(network)
    assert worth(network, table, tags, picture()) == {}
    _, carried = carry(network, table, tags)
    assert "no layer that makes it has a bias" in next(iter(carried.skipped.values()))


def test_a_group_that_loses_nothing_needs_no_carrier(randomised: Randomise) -> None:
    network = make(Chain, randomised)
    table, _ = cut_half(network)
    (group,) = table.free_groups
    for name in (group.name, "nobody"):
        with pytest.raises(PruningError, match=f"carrier: {name}: expected a group that loses"):
            reserve(network, table, torch.zeros(0, dtype=torch.int64), [name])


def test_a_slimmed_detector_is_exact(nano: Detector) -> None:
    table = trace(nano.eval(), probe(nano))
    tags = torch.cat([group.tags[: len(group) // 4] for group in table.free_groups])
    silence_(nano, table, tags)
    image = torch.rand(1, 3, 128, 128)
    groups = [name for name, share in worth(nano, table, tags, image).items() if share > PAYS]
    assert 0 < len(groups) < len(table.free_groups)
    reserved = reserve(nano, table, tags, groups)
    smaller = remove(nano, table, reserved.tags)
    before = copy.deepcopy(nano.state_dict())
    carried = carry_constants_(smaller, nano, table, reserved.tags, probe(nano), reserved.carriers)
    assert carried.groups == tuple(groups) and carried.residual < 1e-4
    with torch.no_grad():
        assert difference(smaller(image), nano(image)) < 1e-4
    assert all(tensor.equal(before[name]) for name, tensor in nano.state_dict().items())


def smallest_scales(detector: Detector, table: ChannelTable, share: float) -> Tensor:
    """Return the tags of a share of each group's channels, those with the smallest scales."""
    scales = dict(detector.named_parameters())
    sums = torch.zeros(1 + max(int(group.tags.max()) for group in table.groups))
    for (name, dimension), held in table.tags.items():
        if table.roles[name, dimension] == "scale":
            sums.index_add_(0, held, scales[name].detach().abs())
    return torch.cat(
        [
            group.tags[sums[group.tags].argsort()[: int(share * len(group))]]
            for group in table.free_groups
        ]
    )


@pytest.mark.parity
@pytest.mark.parametrize("zeroed", [True, False])
def test_the_official_detector_on_real_pictures(assets: Path, zeroed: bool) -> None:
    """A quarter of each layer: scales at zero before the cut, or as trained."""
    detector = load_weights(assets / "weights" / "yolov5n.pt").detector.eval()
    noise = probe(detector)
    table = trace(detector, noise)
    tags = smallest_scales(detector, table, 0.25)
    masked = copy.deepcopy(detector)
    silence_(masked, table, tags)
    detector = masked if zeroed else detector
    index = build_index(read_data(assets / "data" / "coco256.yaml"), "val")
    images = next(iter(validation_batches(index, 320, 8, 32))).images.float() / 255

    def error(candidate: Detector) -> float:
        with torch.no_grad():
            pairs = zip(candidate(images), masked(images), strict=True)
            return max(float((one - other).abs().max()) for one, other in pairs)

    dropped = remove(detector, table, tags)
    folded = copy.deepcopy(dropped)
    fold_constants_(folded, detector, table, tags, noise)
    worths = worth(detector, table, tags, images)
    groups = [name for name, size in worths.items() if size > PAYS]
    reserved = reserve(detector, table, tags, groups)
    smaller = remove(detector, table, reserved.tags)
    carried = carry_constants_(smaller, detector, table, reserved.tags, noise, reserved.carriers)
    assert error(dropped) > error(folded) > 0.1
    assert 0 < len(groups) < len(table.free_groups) and carried.groups == tuple(groups)
    assert carried.residual < 1e-5
    assert error(smaller) < 1e-4
