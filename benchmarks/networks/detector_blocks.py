"""The blocks of today's detectors and backbones, from the papers' ideas, each in a small network.

Images (3, 16, 16) in, unless `INPUTS` says otherwise. Where the idea is from: C2f and C3k2, GELAN
(Wang et al., YOLOv9, arXiv:2402.13616), RepVGG (arXiv:2101.03697), GhostNet (arXiv:1911.11907),
MobileNet (arXiv:1704.04861), squeeze and excitation (arXiv:1709.01507), CSPNet (arXiv:1911.11929),
ShuffleNet V2 (arXiv:1807.11164), U-Net (arXiv:1505.04597), DenseNet (arXiv:1608.06993).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.blocks import conv


class Between(nn.Module):
    """A block of `width` channels in and `out` out, between a stem and a head."""

    def __init__(self, block: nn.Module, width: int, out: int) -> None:
        super().__init__()
        self.stem, self.block, self.head = conv(3, width), block, nn.Conv2d(out, 4, 1)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.block(self.stem(x)))


class Bottleneck(nn.Module):
    def __init__(self, width: int, shortcut: bool = True) -> None:
        super().__init__()
        self.one, self.two, self.shortcut = conv(width, width, 3), conv(width, width, 3), shortcut

    def forward(self, x: Tensor) -> Any:
        return x + self.two(self.one(x)) if self.shortcut else self.two(self.one(x))


class C2f(nn.Module):
    """Two halves of one convolution; each bottleneck's output is kept and concatenated."""

    def __init__(self, width: int, out: int, depth: int = 2) -> None:
        super().__init__()
        self.part = out // 2
        self.enter = conv(width, 2 * self.part, 1)
        self.leave = conv((2 + depth) * self.part, out, 1)
        self.blocks = nn.ModuleList(self.inner(self.part) for _ in range(depth))

    def inner(self, width: int) -> nn.Module:
        return Bottleneck(width)

    def forward(self, x: Tensor) -> Any:
        parts = list(self.enter(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.leave(torch.cat(parts, 1))


class Attention(nn.Module):
    """Heads made by a view that counts on the channels of the block's input."""

    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Conv2d(width, 3 * width, 1), conv(width, width, 1)
        self.place = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Tensor) -> Any:
        batch, channels, height, width = x.shape
        qkv = self.qkv(x).view(batch, 3, self.heads, channels // self.heads, height * width)
        query, key, value = qkv.unbind(1)
        scores = (query.transpose(-2, -1) @ key * 0.3).softmax(-1)
        mixed = (value @ scores.transpose(-2, -1)).view(batch, channels, height, width)
        return self.out(mixed + self.place(value.reshape(batch, channels, height, width)))


class Attentive(nn.Module):
    """A residual around an attention, and one around two convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = Attention(width)
        self.mlp = nn.Sequential(conv(width, 2 * width, 1), conv(2 * width, width, 1))

    def forward(self, x: Tensor) -> Any:
        x = x + self.attention(x)
        return x + self.mlp(x)


class C3k2(C2f):
    """C2f whose inner blocks are a bottleneck and an attention."""

    def inner(self, width: int) -> nn.Module:
        return nn.Sequential(Bottleneck(width), Attentive(width))


class SplitByOwnNumbers(nn.Module):
    """Position-sensitive attention: a convolution split by lengths that the module remembers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.part = width // 2
        self.enter, self.leave = conv(width, width, 1), conv(width, width, 1)
        self.inner = Attentive(self.part)

    def forward(self, x: Tensor) -> Any:
        first, second = self.enter(x).split((self.part, self.part), dim=1)
        return self.leave(torch.cat((first, self.inner(second)), 1))


class RepConv(nn.Module):
    """A 3 x 3 and a 1 x 1 branch, and the input itself, each with a batch norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.wide = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width))
        self.narrow = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width))
        self.same = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Any:
        return F.relu(self.wide(x) + self.narrow(x) + self.same(x), inplace=True)


class RepCSP(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        half = out // 2
        self.left, self.right, self.join = (
            conv(width, half, 1),
            conv(width, half, 1),
            conv(out, out),
        )
        self.blocks = nn.Sequential(RepConv(half), Bottleneck(half))

    def forward(self, x: Tensor) -> Any:
        return self.join(torch.cat((self.blocks(self.left(x)), self.right(x)), 1))


class Gelan(nn.Module):
    """RepNCSPELAN: halves, two stages of RepCSP, everything concatenated."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.enter = conv(width, 16, 1)
        self.one = nn.Sequential(RepCSP(8, 8), conv(8, 8))
        self.two = nn.Sequential(RepCSP(8, 8), conv(8, 8))
        self.leave = conv(32, out, 1)

    def forward(self, x: Tensor) -> Any:
        first, second = self.enter(x).chunk(2, 1)
        third = self.one(second)
        return self.leave(torch.cat((first, second, third, self.two(third)), 1))


class Ghost(nn.Module):
    """Half of the channels come from a cheap depthwise convolution over the other half."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.primary, self.cheap = (
            conv(width, out // 2, 1),
            conv(out // 2, out // 2, groups=out // 2),
        )

    def forward(self, x: Tensor) -> Any:
        primary = self.primary(x)
        return torch.cat((primary, self.cheap(primary)), 1)


class GhostBottleneck(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = Ghost(width, 24), Ghost(24, width)

    def forward(self, x: Tensor) -> Any:
        return x + self.two(self.one(x))


class InvertedResidual(nn.Module):
    """Depthwise-separable, expanded, with squeeze and excitation, and a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = 3 * width
        self.expand, self.deep = conv(width, wide, 1), conv(wide, wide, 5, groups=wide)
        self.squeeze, self.excite = nn.Linear(wide, 6), nn.Linear(6, wide)
        self.project = nn.Sequential(nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Any:
        inner = self.deep(self.expand(x))
        gate = self.excite(F.relu(self.squeeze(inner.mean((2, 3))))).sigmoid()
        return x + self.project(inner * gate[:, :, None, None])


class ChunkedCsp(nn.Module):
    """CSP by chunk: one half passes by, the other through a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter, self.inner, self.leave = conv(width, 12), Bottleneck(6), conv(12, width, 1)

    def forward(self, x: Tensor) -> Any:
        by, through = torch.chunk(self.enter(x), 2, dim=1)
        return self.leave(torch.cat((self.inner(through), by), dim=1))


class ShuffleUnit(nn.Module):
    """ShuffleNet V2: chunk, one half convolved, concatenated, shuffled."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(
            conv(half, half, 1), conv(half, half, groups=half), conv(half, half, 1)
        )
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Any:
        left, right = x.chunk(2, dim=1)
        return self.shuffle(torch.cat((left, self.branch(right)), dim=1))


class Unet(nn.Module):
    """Two levels down and up again, with skips."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.deep = conv(3, 8), conv(8, 12), conv(12, 16)
        self.up, self.join = nn.ConvTranspose2d(16, 12, 2, stride=2), conv(24, 12)
        self.last, self.head = conv(20, 8), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Any:
        one = self.one(x)
        two = self.two(F.max_pool2d(one, 2))
        deep = self.deep(F.avg_pool2d(two, 2))
        two = self.join(torch.cat((self.up(deep), two), 1))
        two = F.interpolate(two, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.head(self.last(torch.cat((two, one), 1)))


class Dense(nn.Module):
    """DenseNet: every layer reads all that came before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(conv(width + 6 * number, 6) for number in range(3))

    def forward(self, x: Tensor) -> Any:
        for layer in self.layers:
            x = torch.cat((x, layer(x)), 1)
        return x


class PyramidPooling(nn.Module):
    """SPPF: the same pooling module three times, concatenated."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter, self.pool, self.leave = conv(width, 6, 1), nn.MaxPool2d(5, 1, 2), conv(24, 8, 1)

    def forward(self, x: Tensor) -> Any:
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.leave(torch.cat(parts, 1))


class SharedHead(nn.Module):
    """A head called on two levels, a block called twice in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.again = conv(3, 8), conv(8, 8, stride=2), Bottleneck(8)
        self.tower, self.head = conv(8, 12), nn.Conv2d(12, 5, 1)

    def forward(self, x: Tensor) -> list[Any]:
        one = self.one(x)
        two = self.again(self.again(self.two(one)))
        return [self.head(self.tower(level)) for level in (one, two)]


class TwoInputs(nn.Module):
    """An image and a vector of facts about it."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.facts = conv(3, 8), nn.Linear(5, 8)
        self.mix, self.head = conv(8, 10), nn.Conv2d(10, 4, 1)

    def forward(self, image: Tensor, facts: Tensor) -> Any:
        return self.head(self.mix(self.image(image) * self.facts(facts)[..., None, None].sigmoid()))


@dataclass
class Found:
    """What `Nested` returns."""

    maps: list[Tensor]
    scores: dict[str, Tensor | None]
    note: str = "nothing"


class Nested(nn.Module):
    """Keyword arguments in, some left out; a record of lists, dictionaries and None out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.side = conv(3, 8), conv(8, 6)
        self.heads = nn.ModuleList(nn.Conv2d(6, 4, 1) for _ in range(2))
        self.scores = nn.Linear(6, 3)

    def forward(self, *, pixels: Tensor, mask: Tensor | None = None, names: Any = None) -> Found:
        x = self.side(self.stem(pixels))
        x = x if mask is None else x * mask
        maps = [head(x) for head in self.heads]
        return Found(maps, {"scores": self.scores(x.mean((2, 3))), "names": names})


class Encoder(nn.Module):
    """Torch's own transformer layer behind a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.widen = conv(3, 8, stride=4), nn.Conv2d(8, 16, 1)
        self.layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.layer(self.widen(self.stem(x)).flatten(2).transpose(1, 2)))


class Heads(nn.Module):
    """Attention heads by a view that leaves their number open: whole heads may go."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 12, stride=4)
        self.query, self.key = nn.Linear(12, 24), nn.Linear(12, 24)
        self.value, self.out, self.head = nn.Linear(12, 24), nn.Linear(24, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Any:
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        heads = [
            layer(tokens).view(*tokens.shape[:2], -1, 6).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        ]
        mixed = F.scaled_dot_product_attention(*heads)
        return self.head(tokens + self.out(mixed.transpose(1, 2).reshape(*tokens.shape[:2], -1)))


class Sound(nn.Module):
    """One dimension: convolutions, instance norm without weights, a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv1d(2, 8, 5, padding=2), nn.InstanceNorm1d(8)
        self.two, self.flat = nn.Conv1d(8, 12, 3, groups=2), nn.GroupNorm(12, 12, affine=False)
        self.up, self.head = nn.ConvTranspose1d(12, 6, 4, stride=2), nn.Conv1d(6, 2, 1)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.up(self.flat(F.gelu(self.two(self.norm(self.one(x)))))).tanh())


class Video(nn.Module):
    """Three dimensions: convolutions, batch norm, depthwise, pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv3d(3, 8, 3, padding=1), nn.BatchNorm3d(8)
        self.deep, self.two = nn.Conv3d(8, 16, 3, padding=1, groups=8), nn.Conv3d(16, 6, 1)
        self.up, self.head = nn.ConvTranspose3d(6, 6, 2, stride=2), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Any:
        x = F.max_pool3d(self.deep(F.relu(self.norm(self.one(x)))), 2)
        return self.head(F.adaptive_avg_pool3d(self.up(self.two(x)), 1).flatten(1))


INPUTS: dict[str, Any] = {
    "TwoInputs": (torch.rand(2, 3, 16, 16), torch.rand(2, 5)),
    "Nested": {"pixels": torch.rand(2, 3, 16, 16), "names": None},
    "Sound": torch.rand(2, 2, 20),
    "Video": torch.rand(2, 3, 4, 8, 8),
}
"""What a network takes that takes no image."""
DETECTOR_BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "C2f": lambda: Between(C2f(8, 12), 8, 12),
    "C3k2": lambda: Between(C3k2(8, 12, 1), 8, 12),
    "SplitByOwnNumbers": lambda: Between(SplitByOwnNumbers(12), 12, 12),
    "RepVGG": lambda: Between(nn.Sequential(RepConv(8), RepConv(8)), 8, 8),
    "GELAN": lambda: Between(Gelan(8, 12), 8, 12),
    "Ghost": lambda: Between(GhostBottleneck(8), 8, 8),
    "InvertedResidual": lambda: Between(InvertedResidual(8), 8, 8),
    "ChunkedCsp": lambda: Between(ChunkedCsp(8), 8, 8),
    "ShuffleUnit": lambda: Between(nn.Sequential(ShuffleUnit(12), ShuffleUnit(12)), 12, 12),
    "Unet": Unet,
    "Dense": lambda: Between(Dense(8), 8, 26),
    "PyramidPooling": lambda: Between(PyramidPooling(8), 8, 8),
    "SharedHead": SharedHead,
    "TwoInputs": TwoInputs,
    "Nested": Nested,
    "Encoder": Encoder,
    "Heads": Heads,
    "Sound": Sound,
    "Video": Video,
}
