"""`Detector`: rows of modules that read earlier rows, and the boxes that it means."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from prunus.model.blocks import Concat, Detect
from prunus.model.spec import ArchSpec


class Detector(nn.Module):
    """A YOLO-family detector.

    Attributes:
        spec: The architecture it was built from; a pruned detector has the same rows, narrower.
        names: Class names, by index.
        strides: Pixels per grid cell of each level, fine to coarse.
        model: The rows; official state-dict names (`model.0.conv.weight` …) follow from it.
    """

    def __init__(
        self, spec: ArchSpec, names: Sequence[str], rows: nn.Sequential, strides: Sequence[int]
    ) -> None:
        super().__init__()
        self.spec = spec
        self.names = tuple(names)
        self.strides = tuple(strides)
        self.model = rows
        self._sources = tuple(
            tuple(source if source >= 0 else number + source for source in row.sources)
            for number, row in enumerate(spec.rows)
        )
        self._kept = frozenset(
            source
            for number, sources in enumerate(self._sources)
            for source in sources
            if source != number - 1
        )

    @property
    def head(self) -> Detect:
        return cast(Detect, self.model[-1])

    @property
    def stride(self) -> int:
        """The coarsest level's stride: the sides of an input must be multiples of it."""
        return max(self.strides)

    @property
    def anchors(self) -> Tensor:
        """(L, A, 2) widths and heights, in grid cells of their level."""
        return self.head.anchors

    @property
    def anchors_px(self) -> Tensor:
        """(L, A, 2) widths and heights, in pixels."""
        return self.anchors * self.anchors.new_tensor(self.strides).view(-1, 1, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Run all rows.

        Args:
            images: (B, 3, H, W) in [0, 1], RGB; H and W multiples of `stride`.

        Returns:
            Per level (B, A, H / stride, W / stride, 5 + K) raw values, for `decode`.
        """
        kept: dict[int, Tensor] = {}
        last = images
        for number, (module, sources) in enumerate(zip(self.model, self._sources, strict=True)):
            inputs = [last if source == number - 1 else kept[source] for source in sources]
            joins = isinstance(module, Concat | Detect)
            last = module(inputs) if joins else module(inputs[0])
            if number in self._kept:
                kept[number] = last
        return cast(list[Tensor], last)

    def decode(self, maps: Sequence[Tensor]) -> Tensor:
        """Turn raw maps into candidates.

        With s = sigmoid(raw): centre = (2s - 0.5 + cell) · stride, size = (2s)² · anchor.

        Returns:
            (B, N, 5 + K) float: centre x, centre y, width, height in input pixels, objectness,
            class probabilities. N runs over levels, then anchors, rows and columns.
        """
        levels = []
        for raw, anchors, stride in zip(maps, self.anchors, self.strides, strict=True):
            batch, count, height, width, values = raw.shape
            squashed = raw.sigmoid()
            cells = _cells(height, width, raw)
            centre = (squashed[..., 0:2] * 2 - 0.5 + cells) * stride
            size = (squashed[..., 2:4] * 2) ** 2 * (anchors * stride).view(1, count, 1, 1, 2)
            candidates = torch.cat((centre, size, squashed[..., 4:]), dim=-1)
            levels.append(candidates.view(batch, count * height * width, values))
        return torch.cat(levels, dim=1)


def _cells(height: int, width: int, like: Tensor) -> Tensor:
    """Return (1, 1, H, W, 2) column and row numbers."""
    rows = torch.arange(height, device=like.device, dtype=like.dtype)
    columns = torch.arange(width, device=like.device, dtype=like.dtype)
    grid_y, grid_x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((grid_x, grid_y), dim=-1).view(1, 1, height, width, 2)
