"""Random small graphs of many operations, from a plan of numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 4
"""Of the images and of every map."""
OPTIONS = 4
"""How many variants a step has."""
Layer = Callable[[Callable[[], nn.Module]], Any]
"""Make a layer once, at the first run; return it at every run."""
Step = Callable[[Layer, Tensor, Tensor, int], Any]
"""(layer, two maps, a number) -> a map of the same height and width."""


def meet(layer: Layer, a: Tensor, b: Tensor) -> Any:
    """Return b with as many channels as a."""
    width, other = a.shape[1], b.shape[1]
    return layer(lambda: nn.Conv2d(other, width, 1) if other != width else nn.Identity())(b)


def grouped(layer: Layer, a: Tensor, _b: Tensor, n: int) -> Any:
    even = layer(lambda: nn.Conv2d(a.shape[1], 8, 1))(a)
    return layer(lambda: nn.Conv2d(8, 4 * (n + 1), 3, padding=1, groups=2))(even)


def chunked(layer: Layer, a: Tensor, _b: Tensor, n: int) -> Any:
    parts = layer(lambda: nn.Conv2d(a.shape[1], 6 * (n % 2 + 1), 1))(a).chunk(2 + n % 2, 1)
    return torch.cat((*parts[1:], parts[0] * parts[1]), 1)


def shuffled(layer: Layer, a: Tensor, _b: Tensor, n: int) -> Any:
    made = layer(lambda: nn.Conv2d(a.shape[1], 8, 1))(a)
    if n % 2:
        return F.channel_shuffle(made, 2)
    return made.view(len(a), 2, -1, SIDE, SIDE).transpose(1, 2).reshape(made.shape)


def squeezed(layer: Layer, a: Tensor, _b: Tensor, _n: int) -> Any:
    gate = layer(lambda: nn.Linear(a.shape[1], 3))(a.mean((2, 3))).relu()
    return a * layer(lambda: nn.Linear(3, a.shape[1]))(gate)[:, :, None, None].sigmoid()


def attended(layer: Layer, a: Tensor, b: Tensor, n: int) -> Any:
    """Attention over pixels, its heads left open or not split at all."""

    def read(x: Tensor) -> Any:
        made = layer(lambda: nn.Linear(x.shape[1], 8))(x.flatten(2).transpose(1, 2))
        return made.view(*made.shape[:2], -1, 4).transpose(1, 2) if n % 2 else made

    q, k, v = read(a), read(b), read(b)
    if n % 2:
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    else:
        mixed = torch.bmm((torch.bmm(q, k.transpose(1, 2)) * 0.2).softmax(-1), v)
    return mixed.transpose(1, 2).reshape(len(a), -1, SIDE, SIDE)


def normalised_last(layer: Layer, a: Tensor, _b: Tensor, _n: int) -> Any:
    last = layer(lambda: nn.LayerNorm(a.shape[1]))(a.permute(0, 2, 3, 1))
    return layer(lambda: nn.Linear(a.shape[1], 6))(last).permute(0, 3, 1, 2)


def sliced(layer: Layer, a: Tensor, _b: Tensor, n: int) -> Any:
    made = layer(lambda: nn.Conv2d(a.shape[1], 6, 1))(a)
    return torch.cat((made[:, : n + 1], made.index_select(1, torch.tensor([0, 5]))), 1)


def through_vector(layer: Layer, a: Tensor, _b: Tensor, _n: int) -> Any:
    hidden = layer(lambda: nn.Linear(a.shape[1] * SIDE * SIDE, 5))(a.flatten(1))
    return layer(lambda: nn.Linear(5, 4 * SIDE * SIDE))(hidden).view(len(a), -1, SIDE, SIDE)


def fine_and_coarse(layer: Layer, a: Tensor, _b: Tensor, n: int) -> Any:
    made = layer(lambda: nn.Conv2d(a.shape[1], 12, 1))(a)
    fine = F.pixel_shuffle(made, 2)
    return F.pixel_unshuffle(fine, 2) if n % 2 else F.max_pool2d(fine, 2)


def written(layer: Layer, a: Tensor, b: Tensor, n: int) -> Any:
    target = torch.zeros_like(a) if n % 2 else a.new_zeros(a.shape)
    target[:, :, 1:] = meet(layer, a, b)[:, :, 1:]
    return target.add_(a)


def stacked(layer: Layer, a: Tensor, b: Tensor, n: int) -> Any:
    both = torch.stack((a, meet(layer, a, b)), 2)
    return (both.amax(2), both.sum(2), both.unbind(2)[1], both.flatten(1, 2))[n]


def cheap(layer: Layer, a: Tensor, _b: Tensor, n: int) -> Any:
    width = a.shape[1]
    return layer(lambda: nn.Conv2d(width, width * (n % 2 + 1), 3, padding=1, groups=width))(a)


STEPS: Sequence[Step] = (
    lambda layer, a, _b, n: layer(lambda: nn.Conv2d(a.shape[1], 3 + n, 3, padding=1))(a),
    lambda layer, a, _b, n: layer(lambda: nn.ConvTranspose2d(a.shape[1], 3 + n, 1))(a),
    lambda layer, a, _b, _n: layer(lambda: nn.BatchNorm2d(a.shape[1]))(a).relu_(),
    lambda layer, a, _b, n: layer(lambda: nn.GroupNorm(a.shape[1], a.shape[1], affine=n > 1))(a),
    lambda layer, a, _b, _n: layer(lambda: nn.PReLU(a.shape[1]))(a),
    lambda layer, a, b, _n: a + meet(layer, a, b),
    lambda layer, a, b, n: (torch.maximum, torch.mul, torch.sub, torch.min)[n](
        a, meet(layer, a, b)
    ),
    lambda layer, a, b, _n: a / (1 + meet(layer, a, b).abs()),
    lambda _layer, a, b, _n: torch.cat((a, b), 1),
    lambda layer, a, _b, _n: a * layer(lambda: nn.Conv2d(a.shape[1], 1, 1))(a).sigmoid(),
    lambda _layer, a, b, _n: a * b.mean(1, keepdim=True),
    lambda _layer, a, _b, n: (F.max_pool2d, F.avg_pool2d)[n % 2](a, 3, 1, 1),
    lambda _layer, a, _b, n: F.interpolate(
        F.avg_pool2d(a, 2), scale_factor=2.0, mode=("nearest", "bilinear")[n % 2]
    ),
    lambda _layer, a, _b, n: F.pad(a, (n % 2, 1, 1, 0), mode=("constant", "reflect")[n // 2])[
        ..., :SIDE, :SIDE
    ],
    lambda _layer, a, _b, n: (a.roll(1, 2), a.flip(3), a.softmax(2), a.transpose(2, 3))[n],
    lambda _layer, a, _b, n: (a.repeat(1, 2, 1, 1), a.softmax(1), a.squeeze(), a.mul_(2))[n],
    cheap, grouped, chunked, shuffled, squeezed, attended, normalised_last, sliced, through_vector,
    fine_and_coarse, written, stacked,
)  # fmt: skip
Plan = Sequence[tuple[int, int, int, int]]
"""(index of the step, number of each of the two maps it reads, an option), step by step."""


class Graph(nn.Module):
    """Two stems, and step after step on maps made before; what was not read goes to the head."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan, self.layers = plan, nn.ModuleDict()
        self.left, self.right = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.head: nn.Module = nn.Identity()
        width = self.forward(torch.rand(2, 3, SIDE, SIDE)).shape[1]
        self.head = nn.Conv2d(width, 3, 1)

    def forward(self, x: Tensor) -> Any:
        maps, read = [self.left(x), self.right(x)], set[int]()
        for number, (kind, first, second, option) in enumerate(self.plan):
            a, b = first % len(maps), second % len(maps)
            read |= {a, b}
            maps.append(STEPS[kind](self._layers_of(number), maps[a].clone(), maps[b], option))
        rest = [made for index, made in enumerate(maps) if index not in read]
        return self.head(torch.cat(rest, 1))

    def _layers_of(self, number: int) -> Layer:
        count = 0

        def layer(make: Callable[[], nn.Module]) -> nn.Module:
            nonlocal count
            name, count = f"{number}_{count}", count + 1
            if name not in self.layers:
                self.layers[name] = make()
            return self.layers[name]

        return layer
