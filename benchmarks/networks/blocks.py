"""Small networks of one idea each, to prune: (3, 16, 16) images in."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv(inputs: int, outputs: int, kernel: int = 3, **options: Any) -> nn.Sequential:
    """Return a convolution that keeps the size of an image, batch norm and SiLU."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **options)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.SiLU(inplace=True))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = conv(3, 8), conv(8, 12), conv(12, 8)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x)
        return self.head(x + self.two(self.one(x)))


class Branches(nn.Module):
    """Concatenation, pooling, upsampling, and a slice of pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.join = conv(3, 6), conv(3, 10), conv(32, 8)
        self.pool, self.up = nn.MaxPool2d(3, 2, 1), nn.Upsample(scale_factor=2)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Any:
        left, right = self.left(x), self.right(x)
        parts = torch.cat((left, right, self.up(self.pool(right)), left), dim=1)
        return self.head(self.join(F.pad(parts, (1, 1, 1, 1))[..., ::2, ::2]))


class Chunked(nn.Module):
    """C2f's way: the two halves of one convolution, one of them refined, all concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.cv1, self.m, self.cv2 = conv(3, 16), conv(8, 8), conv(24, 8)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Any:
        first, second = self.cv1(x).chunk(2, dim=1)
        return self.head(self.cv2(torch.cat((first, second, second + self.m(second)), dim=1)))


class SplitByNumbers(nn.Module):
    """A split whose lengths are written in the code."""

    def __init__(self) -> None:
        super().__init__()
        self.cv1, self.cv2, self.cv3 = conv(3, 16), conv(4, 8), conv(12, 8)
        self.head = nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Any:
        small, large = self.cv1(x).split([4, 12], dim=1)
        return self.head(torch.cat((self.cv2(small), self.cv3(large)), dim=1))


class Separable(nn.Module):
    """Depthwise (once and with a multiplier), squeeze and excitation, a spatial gate."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep, self.twice = conv(3, 8), conv(8, 8, groups=8), conv(8, 16, groups=8)
        self.squeeze, self.excite = nn.Conv2d(16, 6, 1), nn.Conv2d(6, 16, 1)
        self.gate, self.head = nn.Conv2d(16, 1, 1), nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Any:
        x = self.twice(self.deep(self.stem(x)))
        x = x * self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return self.head(x * self.gate(x).sigmoid())


class Grouped(nn.Module):
    """Grouped convolutions with a channel shuffle between them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = conv(3, 8), conv(8, 16, groups=2), conv(16, 8, groups=2)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Any:
        x = self.one(self.stem(x))
        batch, channels, height, width = x.shape
        shuffled = x.view(batch, 2, channels // 2, height, width).transpose(1, 2)
        return self.head(self.two(shuffled.reshape(batch, channels, height, width)))


class Hourglass(nn.Module):
    """Transposed convolutions, plain and grouped, and a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = conv(3, 8), conv(8, 12, stride=2)
        self.up = nn.ConvTranspose2d(12, 8, 2, stride=2)
        self.deep = nn.ConvTranspose2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.ConvTranspose2d(8, 6, 3, padding=1, groups=2)
        self.head = nn.Conv2d(14, 4, 1)

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x)
        small = self.down(x)
        return self.head(torch.cat((self.grouped(self.deep(self.up(small))), x), dim=1))


class Classifier(nn.Module):
    """Pixels flattened into a linear layer, 1-d batch norm, PReLU, dict output."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.slope = conv(3, 8), nn.PReLU(8)
        self.hidden, self.norm, self.head = (
            nn.Linear(8 * 16, 12),
            nn.BatchNorm1d(12),
            nn.Linear(12, 5),
        )

    def forward(self, x: Tensor) -> dict[str, Any]:
        x = F.adaptive_avg_pool2d(self.slope(self.stem(x)), 4).flatten(1)
        return {"scores": self.head(self.norm(self.hidden(x)).relu())}


class Shared(nn.Module):
    """One module called at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = conv(3, 8), conv(3, 8)
        self.shared, self.head = conv(8, 12), nn.Conv2d(24, 4, 1)

    def forward(self, x: Tensor) -> Any:
        return self.head(torch.cat((self.shared(self.one(x)), self.shared(self.two(x))), dim=1))


class ChannelsLast(nn.Module):
    """ConvNeXt's way: layer norm over permuted channels, linear layers, a scale of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep, self.norm = (
            conv(3, 8),
            nn.Conv2d(8, 8, 7, padding=3, groups=8),
            nn.LayerNorm(8),
        )
        self.wide, self.back = nn.Linear(8, 16), nn.Linear(16, 8)
        self.scale = nn.Parameter(torch.rand(8))
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x)
        inner = self.norm(self.deep(x).permute(0, 2, 3, 1))
        inner = self.scale * self.back(F.gelu(self.wide(inner)))
        return self.head(x + inner.permute(0, 3, 1, 2))


class Attention(nn.Module):
    """Tokens with a position embedding, attention and a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.position = conv(3, 16), nn.Parameter(torch.rand(1, 64, 16))
        self.query, self.key, self.value = nn.Linear(16, 8), nn.Linear(16, 8), nn.Linear(16, 12)
        self.out, self.head = nn.Linear(12, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Any:
        tokens = self.stem(x).flatten(2).transpose(1, 2) + self.position
        mixed = F.scaled_dot_product_attention(
            self.query(tokens), self.key(tokens), self.value(tokens)
        )
        by_hand = (self.query(tokens) @ self.key(tokens).transpose(1, 2)).softmax(dim=-1)
        return self.head(tokens + self.out(mixed + by_hand @ self.value(tokens)))


class Gated(nn.Module):
    """GLU, instance norm (no weights), group norm of one channel a group, pixel shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.GroupNorm(8, 8)
        self.fine, self.head = nn.Conv2d(8, 24, 1), nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Any:
        x = self.norm(F.glu(self.stem(x), dim=1))
        return self.head(F.pixel_shuffle(self.fine(x), 2))


class Tokens(nn.Module):
    """A class token, a mixer over the tokens, heads made by view, softmax, mean over tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.token = conv(3, 12), nn.Parameter(torch.rand(1, 1, 12))
        self.mixer, self.qkv = nn.Linear(65, 65), nn.Linear(12, 36)
        self.out, self.wide, self.head = nn.Linear(12, 12), nn.Linear(12, 10), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Any:
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.token.expand(len(x), -1, -1), tokens), dim=1)
        tokens = tokens + self.mixer(tokens.mT).mT
        batch, count, _ = tokens.shape
        query, key, value = self.qkv(tokens).view(batch, count, 3, 2, -1).unbind(2)
        scores = torch.einsum("bqhd,bkhd->bhqk", query, key).softmax(dim=-1)
        mixed = torch.einsum("bhqk,bkhd->bqhd", scores, value).flatten(2)
        return self.head(self.wide(tokens + self.out(mixed)).relu().mean(dim=1))


class Padded(nn.Module):
    """A shortcut padded with zero channels, mirrored and rolled pixels, a reflected border."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.head = conv(3, 8), conv(8, 12), nn.Conv2d(12, 4, 3)

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x)
        x = self.one(x).flip(3) + F.pad(x.roll(1, 2), (0, 0, 0, 0, 2, 2))
        return self.head(F.pad(x, (1, 1, 1, 1), mode="reflect"))


BLOCKS: tuple[Callable[[], nn.Module], ...] = (
    Residual,
    Branches,
    Chunked,
    SplitByNumbers,
    Separable,
    Grouped,
    Hourglass,
    Classifier,
    Shared,
    ChannelsLast,
    Attention,
    Gated,
    Tokens,
    Padded,
)
