"""The blocks that YOLOv5's rows are made of.

Attribute names (`conv`, `bn`, `cv1`, `m` …) are those of official checkpoints: tensors load by
name.
"""

import torch
from torch import Tensor, nn

from prunus.model.activations import ACTIVATIONS, DEFAULT_ACTIVATION
from prunus.model.factors import FactorisedConv

BATCH_NORM_EPSILON = 1e-3
BATCH_NORM_MOMENTUM = 0.03
"""YOLOv5's own values; with torch's defaults official weights give almost the right outputs."""


class ConvBlock(nn.Module):
    """Convolution without bias → batch norm → activation; at stride 1 the size stays.

    Attributes:
        conv: One convolution, or two that were made of it.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        padding = kernel // 2 if padding is None else padding
        self.conv: nn.Conv2d | FactorisedConv = nn.Conv2d(
            inputs, outputs, kernel, stride, padding, bias=False
        )
        self.bn: nn.Module = nn.BatchNorm2d(
            outputs, eps=BATCH_NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM
        )
        self.act = ACTIVATIONS[DEFAULT_ACTIVATION].make()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.bn(self.conv(x)))
        return out


class Bottleneck(nn.Module):
    """1×1 then 3×3 convolution, with the input added on when `shortcut` and the widths agree."""

    def __init__(self, inputs: int, outputs: int, shortcut: bool = True) -> None:
        super().__init__()
        self.cv1 = ConvBlock(inputs, outputs, 1)
        self.cv2 = ConvBlock(outputs, outputs, 3)
        self.add = shortcut and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cv2(self.cv1(x))
        return x + out if self.add else out


class C3(nn.Module):
    """Cross-stage block: `cv3(cat[m(cv1(x)), cv2(x)])` at half the width inside."""

    def __init__(self, inputs: int, outputs: int, repeats: int = 1, shortcut: bool = True) -> None:
        super().__init__()
        hidden = outputs // 2
        self.cv1 = ConvBlock(inputs, hidden)
        self.cv2 = ConvBlock(inputs, hidden)
        self.cv3 = ConvBlock(2 * hidden, outputs)
        self.m = nn.Sequential(*(Bottleneck(hidden, hidden, shortcut) for _ in range(repeats)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), dim=1))
        return out


class SPPF(nn.Module):
    """Spatial pyramid pooling: three chained max pools, all four stages side by side."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 5) -> None:
        super().__init__()
        hidden = inputs // 2
        self.cv1 = ConvBlock(inputs, hidden)
        self.cv2 = ConvBlock(4 * hidden, outputs)
        self.m = nn.MaxPool2d(kernel, stride=1, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        stages = [self.cv1(x)]
        for _ in range(3):
            stages.append(self.m(stages[-1]))
        out: Tensor = self.cv2(torch.cat(stages, dim=1))
        return out


class Concat(nn.Module):
    """Joins its inputs along the channels."""

    def forward(self, inputs: list[Tensor]) -> Tensor:
        return torch.cat(inputs, dim=1)


class Detect(nn.Module):
    """The head: per level one 1×1 convolution to `anchors × (5 + classes)` channels.

    Attributes:
        anchors: Buffer (L, A, 2), width and height in cells of the level's grid.
    """

    anchors: Tensor

    def __init__(self, inputs: list[int], classes: int, anchors: Tensor) -> None:
        super().__init__()
        self.classes = classes
        self.anchors_per_level = anchors.shape[1]
        width = self.anchors_per_level * (5 + classes)
        self.m = nn.ModuleList(nn.Conv2d(count, width, 1) for count in inputs)
        self.register_buffer("anchors", anchors)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return per level (B, A, H, W, 5 + K) raw values."""
        maps = []
        for conv, feature in zip(self.m, features, strict=True):
            raw = conv(feature)
            batch, _, height, width = raw.shape
            raw = raw.view(batch, self.anchors_per_level, 5 + self.classes, height, width)
            maps.append(raw.permute(0, 1, 3, 4, 2).contiguous())
        return maps
