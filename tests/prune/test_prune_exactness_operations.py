"""Every operation by itself, between two convolutions: traced, and cut exactly by the rules alone.

Either channels go, or all that the operation reads is pinned for the reason that is given here.
"""

from collections.abc import Callable

import pytest
import torch
from networks.cuts import enliven_, random_share, widths_disagree
from torch import Tensor, nn
from torch.nn import functional as F

from prunus.prune.proof import cut_exactly

SLICED = "sliced at fixed positions by the model's own code"
SUMMED = "summed up with other channels"
SWEPT = "depends on the other channels"
FIXED = "meets a constant or an input, whose length is fixed"
NORMALISED = "normalised together with other channels"
PIXELS = "channels lie where pixels are expected"
SPREAD = "is spread over all channels of another tensor"
PART = "written into a part of another tensor"
COMPUTED = "read by a layer whose weight is computed"
PLACES = "places at which another tensor is read"
SCALE = "their number sets the scale of an attention"
GRID = torch.linspace(-1, 1, 36).view(2, 3, 3, 2)
PRODUCT = "mixed in a matrix product"
Operation = Callable[..., Tensor]


def into(operation: Callable[..., Tensor], a: Tensor, b: Tensor) -> Tensor:
    """Call the out= variant of an operation."""
    return operation(a, b, out=torch.empty_like(a))


def heads(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2).reshape(len(x), 16, -1, 4).transpose(1, 2)


def tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def put(x: Tensor, index: tuple[object, ...], value: Tensor) -> Tensor:
    x = x.clone()
    x[index] = value  # type: ignore[index]
    return x


def halves(target: Tensor, upper: Tensor, lower: Tensor) -> Tensor:
    first, second = target[:, :, :4], target[:, :, 4:]
    first.copy_(upper)
    second.copy_(lower)
    return target


FREE: dict[str, Operation] = {
    # place by place
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "rsub": lambda a, b: 1 - a + b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / (b.abs() + 1),
    "pow": lambda a, b: (a.abs() + 1) ** b.tanh(),
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "max of two": torch.max,
    "where": lambda a, b: torch.where(a > 0, a, b),
    "lerp": lambda a, b: torch.lerp(a, b, 0.3),
    "addcmul": lambda a, b: torch.addcmul(a, a, b),
    "clamp by a tensor": lambda a, b: torch.clamp(a, max=b),
    "masked_fill": lambda a, b: a.masked_fill(b > 0, 0.5),
    "broadcast over pixels": lambda a, b: a * b.mean((2, 3), keepdim=True),
    "broadcast a vector": lambda a, b: a + b.amax((2, 3))[:, :, None, None],
    "broadcast a mask of pixels": lambda a, _: a * torch.arange(16.0).view(4, 4),
    "a number": lambda a, _: 2 * a + 1,
    "in place": lambda a, b: a.clone().add_(b).relu_().mul_(0.5),
    "out=": lambda a, b: into(torch.mul, into(torch.add, a, b), b),
    "cat with out=": lambda a, b: torch.cat((a, b), 1, out=torch.empty(2, 0)),
    "in-place view": lambda a, b: a.clone().transpose_(2, 3).unsqueeze_(2).squeeze_(2) + b,
    "activations": lambda a, _: F.mish(F.hardswish(F.leaky_relu(F.elu(F.gelu(F.silu(a)))))),
    "softmax over pixels": lambda a, _: a.flatten(2).softmax(2),
    "log-softmax over pixels": lambda a, _: a.log_softmax(3),
    "cumsum over pixels": lambda a, _: a.cumsum(2),
    "sort pixels": lambda a, _: a.sort(3).values,
    "topk pixels": lambda a, _: a.flatten(2).topk(3, dim=2).values,
    "dropout": lambda a, _: F.dropout(a, training=False),
    "fresh values": lambda a, b: a + torch.zeros_like(a) * a.new_ones(a.shape) + b.new_zeros(()),
    # reductions over pixels
    "mean": lambda a, _: a.mean((2, 3)),
    "sum": lambda a, _: a.sum(-1),
    "amax": lambda a, _: a.amax((2, 3), keepdim=True),
    "max with indices": lambda a, _: a.max(2).values,
    "median": lambda a, _: a.flatten(2).median(2).values,
    "std": lambda a, _: a.std((2, 3)),
    "norm": lambda a, _: a.norm(dim=(2, 3)),
    "logsumexp": lambda a, _: a.logsumexp((2, 3)),
    # joined and parted
    "cat": lambda a, b: torch.cat((a, b, a), 1),
    "cat of pixels": lambda a, b: torch.cat((a, b), 2),
    "stack": lambda a, b: torch.stack((a, b), 2).flatten(2),
    "stack to channels": lambda a, b: torch.stack((a, b), 2).flatten(1, 2),
    "hstack": lambda a, b: torch.hstack((a, b)),
    "chunk": lambda a, _: torch.cat(a.chunk(2, 1)[::-1], 1),
    "split in equal parts": lambda a, _: torch.mul(*a.split(a.shape[1] // 2, 1)),
    "chunk of pixels": lambda a, _: a.chunk(2, 3)[1],
    "split of pixels": lambda a, _: a.split([1, 3], 2)[1],
    "unbind of pixels": lambda a, _: a.unbind(2)[1],
    "unbind of halves": lambda a, _: torch.mul(*a.unflatten(1, (2, -1)).unbind(1)),
    "glu": lambda a, _: F.glu(a, 1),
    "slice of pixels": lambda a, _: a[..., 1:3, ::2],
    "slice of everything": lambda a, _: a[:, 0:],
    "select of pixels": lambda a, _: a[:, :, 2],
    "index_select of pixels": lambda a, _: a.index_select(2, torch.tensor([3, 0])),
    "index of pixels": lambda a, _: a[:, :, torch.tensor([[0, 1], [2, 3]])],
    "gather of pixels": lambda a, b: a.gather(2, torch.zeros_like(b, dtype=torch.int64)),
    "roll of pixels": lambda a, _: a.roll((1, 2), (2, 3)),
    "flip of pixels": lambda a, _: a.flip(2).rot90(1, (2, 3)),
    "triangle of pixels": lambda a, _: a.tril(),
    "diagonal of pixels": lambda a, _: a.diagonal(0, 2, 3),
    # moved
    "view": lambda a, _: a.view(len(a), -1, 16),
    "view of groups": lambda a, _: a.view(len(a), 2, -1, 4, 4).amax(1),
    "reshape": lambda a, _: a.reshape(len(a), 2, -1, 16).transpose(1, 2).flatten(1, 2),
    "flatten all": lambda a, _: a.flatten(1),
    "unflatten": lambda a, _: a.unflatten(3, (2, 2)).flatten(3),
    "permute": lambda a, _: a.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "transpose": lambda a, _: tokens(a).mT,
    "movedim": lambda a, _: a.movedim(1, -1).swapaxes(1, -1),
    "squeeze": lambda a, _: a.mean((2, 3), keepdim=True).squeeze(3).unsqueeze(2),
    "expand": lambda a, b: a.amax(2, keepdim=True).expand(-1, -1, 4, -1) + b,
    "expand_as": lambda a, b: a.mean((2, 3), keepdim=True).expand_as(b) * b,
    "repeat": lambda a, _: a.repeat(1, 2, 1, 3),
    "repeat_interleave": lambda a, _: a.repeat_interleave(3, 1),
    "tile": lambda a, _: a.tile((1, 2, 2, 1)),
    "pad": lambda a, _: F.pad(a, (1, 0, 2, 1), value=0.3),
    "pad by reflection": lambda a, _: F.pad(a, (1, 1, 1, 1), mode="reflect"),
    "pad by replication": lambda a, _: F.pad(a, (1, 1, 1, 1), mode="replicate"),
    "pad in a circle": lambda a, _: F.pad(a, (1, 1, 1, 1), mode="circular"),
    "crop": lambda a, _: F.pad(a, (-1, 0, 0, -1)),
    "copy into pixels": lambda a, b: put(torch.zeros_like(a), (..., slice(1, 3)), b[..., :2]),
    "copy into new pixels": lambda a, _: put(
        a.new_zeros(2, a.shape[1], 6, 6), (..., slice(1, 5), slice(1, 5)), a
    ),
    "index_add of pixels": lambda a, b: b.index_add(2, torch.arange(4), a),
    "index_put of pixels": lambda a, b: put(a, (..., torch.tensor([0, 2])), b[..., 2:]),
    "a number into pixels": lambda a, _: put(a, (..., torch.tensor([0, 2])), torch.tensor(0.5)),
    "scatter of pixels": lambda a, b: a.scatter(2, torch.zeros_like(b, dtype=torch.int64), b),
    "copies into two parts": lambda a, b: halves(a.new_zeros(2, a.shape[1], 8, 4), a, b),
    # space
    "max_pool1d": lambda a, _: F.max_pool1d(a.flatten(2), 2),
    "avg_pool1d": lambda a, _: F.avg_pool1d(a.flatten(2), 2),
    "adaptive_avg_pool1d": lambda a, _: F.adaptive_avg_pool1d(a.flatten(2), 3),
    "adaptive_max_pool1d": lambda a, _: F.adaptive_max_pool1d(a.flatten(2), 3),
    "lp_pool1d": lambda a, _: F.lp_pool1d(a.flatten(2).abs() + 0.1, 2, 2),
    "max_pool2d": lambda a, _: F.max_pool2d(a, 3, 1, 1),
    "max_pool2d with indices": lambda a, _: F.max_pool2d(a, 2, return_indices=True)[0],
    "avg_pool2d": lambda a, _: F.avg_pool2d(a, 2),
    "lp_pool2d": lambda a, _: F.lp_pool2d(a.abs() + 0.1, 2, 2),
    "adaptive_avg_pool2d": lambda a, _: F.adaptive_avg_pool2d(a, (1, 3)),
    "adaptive_avg_pool2d to one": lambda a, _: F.adaptive_avg_pool2d(
        a.contiguous(memory_format=torch.channels_last), 1
    ),
    "adaptive_max_pool2d": lambda a, _: F.adaptive_max_pool2d(a, 2),
    "max_pool3d": lambda a, _: F.max_pool3d(a.unflatten(3, (2, 2)), 2),
    "avg_pool3d": lambda a, _: F.avg_pool3d(a.unflatten(3, (2, 2)), 2),
    "adaptive_avg_pool3d": lambda a, _: F.adaptive_avg_pool3d(a.unflatten(3, (2, 2)), 1),
    "adaptive_max_pool3d": lambda a, _: F.adaptive_max_pool3d(a.unflatten(3, (2, 2)), 1),
    "max_unpool2d": lambda a, _: F.max_unpool2d(*F.max_pool2d(a, 2, return_indices=True), 2),
    "nearest": lambda a, _: F.interpolate(a, scale_factor=2.0),
    "nearest-exact": lambda a, _: F.interpolate(a, size=(3, 7), mode="nearest-exact"),
    "bilinear": lambda a, _: F.interpolate(a, scale_factor=2.0, mode="bilinear"),
    "bicubic": lambda a, _: F.interpolate(a, size=6, mode="bicubic", align_corners=True),
    "antialias": lambda a, _: F.interpolate(a, size=2, mode="bilinear", antialias=True),
    "area": lambda a, _: F.interpolate(a, size=2, mode="area"),
    "linear": lambda a, _: F.interpolate(a.flatten(2), scale_factor=2.0, mode="linear"),
    "trilinear": lambda a, _: F.interpolate(a.unflatten(3, (2, 2)), size=3, mode="trilinear"),
    "pixel_shuffle": lambda a, _: F.pixel_shuffle(a, 2),
    "pixel_unshuffle": lambda a, _: F.pixel_unshuffle(a, 2),
    "channel_shuffle": lambda a, _: F.channel_shuffle(a, 2),
    "nn.ChannelShuffle": lambda a, _: nn.ChannelShuffle(4)(a),
    "unfold": lambda a, _: F.unfold(a, 3, padding=1),
    "fold": lambda a, _: F.fold(F.unfold(a, 2, stride=2), 4, 2, stride=2),
    "grid_sample": lambda a, _: F.grid_sample(a, GRID, align_corners=False),
    "instance_norm": lambda a, _: F.instance_norm(a),
    "batch_norm of the batch": lambda a, _: F.batch_norm(a, None, None, training=True),
    "layer_norm over pixels": lambda a, _: F.layer_norm(a, (4, 4)),
    "group_norm of one": lambda a, _: F.group_norm(a, a.shape[1]),
    # products
    "matmul over channels": lambda a, b: (tokens(a) @ b.flatten(2)).unsqueeze(1) * a.mean(),
    "bmm": lambda a, b: torch.bmm(a.flatten(2), torch.ones(2, 16, 5)) + b.flatten(2)[..., :5],
    "einsum": lambda a, b: torch.einsum("bchw,bcxy->bhwx", a, b) * a.mean(),
    "attention": lambda a, b: F.scaled_dot_product_attention(
        tokens(a), tokens(a), tokens(b), scale=0.3
    ).mT,
    "attention by heads": lambda a, b: F.scaled_dot_product_attention(heads(a), heads(a), heads(b))
    .transpose(1, 2)
    .flatten(2)
    .mT,
    "attention by hand": lambda a, b: (
        (heads(a) @ heads(a).mT).softmax(-1) @ heads(b)
    ).transpose(1, 2).flatten(2).mT,
}  # fmt: skip
"""Operations on two maps (2, 8, 4, 4) through which channels may go; channels in dimension 1 out.

A product over all channels has none: those that the head then reads are not cut.
"""
SUMMED_UP = {"matmul over channels", "einsum"}
"""These are multiplied with a mean over all channels, which pins a; only b's are looked at."""

PINNED: dict[str, tuple[Operation, str]] = {
    "softmax": (lambda a, _: a.softmax(1), SWEPT),
    "sort": (lambda a, _: a.sort(1).values, SWEPT),
    "cumsum": (lambda a, _: a.cumsum(1), SWEPT),
    "mean": (lambda a, b: a.mean(1, keepdim=True) * b, SUMMED),
    "max": (lambda a, b: a.amax(1, keepdim=True) + b, SUMMED),
    "sum of all": (lambda a, b: a.sum() * b, SUMMED),
    "norm": (lambda a, _: F.normalize(a, dim=1), SUMMED),
    "slice": (lambda a, _: a[:, :5], SLICED),
    "select": (lambda a, b: a[:, 2:3] * b, SLICED),
    "select one": (lambda a, b: a[:, 2, None] * b, SLICED),
    "unbind": (lambda a, _: torch.stack(a.unbind(1)[::2], 1), SLICED),
    "index_select": (lambda a, _: a.index_select(1, torch.tensor([4, 2])), SLICED),
    "index": (lambda a, _: a[:, torch.tensor([4, 2])], SLICED),
    "gather": (lambda a, _: a.gather(1, torch.zeros(2, 3, 4, 4, dtype=torch.int64)), SLICED),
    "split by numbers": (lambda a, _: torch.cat(a.split([3, 5], 1)[::-1], 1), SLICED),
    "roll": (lambda a, _: a.roll(1, 1), SLICED),
    "flip": (lambda a, _: a.flip(1), SLICED),
    "crop": (lambda a, _: F.pad(a, (0, 0, 0, 0, -1, 0)), SLICED),
    "diagonal": (lambda a, _: a[..., 0].diagonal(0, 1, 2).unsqueeze(2), SLICED),
    "triangle": (lambda a, _: a.flatten(2).tril(), SLICED),
    "a constant": (lambda a, _: a * torch.arange(8.0).view(1, 8, 1, 1), FIXED),
    "layer_norm": (lambda a, _: F.layer_norm(a.mT.transpose(1, 3), (8,)).transpose(1, 3),
                   NORMALISED),
    "layer_norm of all": (lambda a, _: F.layer_norm(a, (8, 4, 4)), NORMALISED),
    "rms_norm": (lambda a, _: F.rms_norm(tokens(a), (8,)).mT, SUMMED),
    "group_norm": (lambda a, _: F.group_norm(a, 4), NORMALISED),
    "local_response_norm": (lambda a, _: F.local_response_norm(a, 3), PIXELS),
    "pool of channels": (lambda a, _: F.max_pool1d(tokens(a), 2).mT, PIXELS),
    "weights": (lambda a, b: F.conv2d(a, torch.ones(3, 8, 1, 1) * b.mean()), COMPUTED),
    "places": (
        lambda a, b: F.grid_sample(b, a[:, :2].permute(0, 2, 3, 1), align_corners=False), SLICED
    ),
    "places of all": (
        lambda a, b: F.grid_sample(b, a.flatten(2).mT.unflatten(2, (4, 2)), align_corners=False),
        PLACES,
    ),
    "attention": (
        lambda a, b: F.scaled_dot_product_attention(tokens(a), tokens(a), tokens(b)).mT, SCALE
    ),
    "product": (lambda a, b: a.flatten(2) @ tokens(b), PRODUCT),
    "copy into channels": (lambda a, _: put(a.new_zeros(2, 9, 4, 4), (slice(None), slice(8)), a),
                           PART),
    "scatter": (lambda a, b: b.mean().add(torch.zeros(2, 8, 4, 4)).scatter(
        1, torch.zeros(2, 8, 4, 4, dtype=torch.int64), a), PART),
    "index_add": (lambda a, b: b + a.index_add(1, torch.arange(3), torch.ones(2, 3, 4, 4)), PART),
    "masked_select": (lambda a, b: b * a.masked_select(a > 0).mean(), "mixed by masked_select"),
    "cdist": (lambda a, _: torch.cdist(tokens(a), tokens(a)), "mixed by _cdist_forward"),
    "fft": (lambda a, _: torch.fft.rfft(a, dim=2).real, "mixed by _fft_r2c"),
    "nonzero": (lambda a, b: b * len(a.nonzero()), "mixed by nonzero"),
    "number": (lambda a, b: b * float(a[0, 0, 0, 0]), SLICED),
}  # fmt: skip
"""Operations that mix the channels of a: all of them stay, for the reason given."""


class Net(nn.Module):
    """Two convolutions of 8 channels, an operation on both, and what reads its channels."""

    def __init__(self, operation: Operation) -> None:
        super().__init__()
        self.a, self.b, self.operation = (
            nn.Conv2d(3, 8, 1),
            nn.Conv2d(3, 8, 3, padding=1),
            operation,
        )
        self.head: nn.Module = nn.Identity()
        with torch.no_grad():
            width = self(torch.rand(2, 3, 4, 4)).shape[1]
        self.head = nn.Conv1d(width, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        made = self.operation(self.a(x), self.b(x))
        return self.head(made.flatten(2) if made.ndim > 2 else made.unsqueeze(2))


@pytest.mark.parametrize("name", FREE)
def test_channels_go_through(name: str) -> None:
    torch.manual_seed(0)
    network = enliven_(Net(FREE[name]))
    proved = cut_exactly(network, torch.rand(2, 3, 4, 4), random_share(0.5, seed=1))
    assert proved.error < 1e-12
    assert not proved.pinned, "found out by the rules alone"
    assert not widths_disagree(proved.model)
    if name not in SUMMED_UP:
        assert proved.model.a.out_channels == 4, proved.table.groups


@pytest.mark.parametrize("name", PINNED)
def test_channels_that_are_mixed_stay_and_the_reason_is_said(name: str) -> None:
    torch.manual_seed(0)
    operation, reason = PINNED[name]
    network = enliven_(Net(operation))
    proved = cut_exactly(network, torch.rand(2, 3, 4, 4), random_share(0.5, seed=1))
    frozen = {maker: g.frozen for g in proved.table.groups for maker in g.name.split("+")}
    assert frozen["a"] == reason
    assert not proved.pinned
    assert proved.error < 1e-12
    assert proved.model.a.out_channels == 8
