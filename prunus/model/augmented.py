"""Test-time augmentation: a runner that looks three times, at three sizes, once in the mirror.

The scales and the level dropped from the first and the last pass are YOLOv5's (`spec/yolov5.md`
2.2): large things are found better in a small picture, small things in a large one.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from prunus.core.errors import ConfigError
from prunus.core.records import GREY, Runner, Size


@dataclass(frozen=True)
class Look:
    """One pass.

    Attributes:
        scale: Of the picture's sides.
        mirrored: Whether left and right are exchanged.
        without: The level whose candidates are dropped: "coarsest", "finest" or "" for none.
    """

    scale: float
    mirrored: bool = False
    without: str = ""


LOOKS = (Look(1.0, without="coarsest"), Look(0.83, mirrored=True), Look(0.67, without="finest"))


class AugmentedRunner:
    """A `Runner` whose candidates are those of three passes of another, carried back.

    Attributes:
        runner: What looks.
        names: Its class names.
        stride: Its stride.
        size_hw: None: it takes any size.
        batch: Its batch.
    """

    size_hw: Size | None = None

    def __init__(self, runner: Runner, title: str) -> None:
        """Wrap a runner.

        Args:
            runner: One that takes any size.
            title: What to call it in an error, such as its file.

        Raises:
            ConfigError: It takes a single size only.
        """
        if runner.size_hw is not None:
            height, width = runner.size_hw
            raise ConfigError(
                f"--augment: {title} takes images of {height}x{width} only. "
                "Give its weights file, or export it with --dynamic."
            )
        self.runner = runner
        self.names, self.stride, self.batch = runner.names, runner.stride, runner.batch

    def __call__(self, images: Tensor) -> Tensor:
        """Return (B, N', 5 + K) candidates in pixels of the unscaled images."""
        return torch.cat([self._look(images, look) for look in LOOKS], dim=1)

    def _look(self, images: Tensor, look: Look) -> Tensor:
        """Run one pass and carry its boxes back: scale first, then the mirror."""
        height, width = images.shape[2:]
        seen, size_hw = _shrink(images.flip(3) if look.mirrored else images, look, self.stride)
        candidates = self.runner(seen)
        cells = (seen.shape[2] // self.stride) * (seen.shape[3] // self.stride)
        kept = _without(candidates, cells, look.without)
        scale_y, scale_x = size_hw[0] / height, size_hw[1] / width
        back = kept.clone()
        back[..., :4] /= kept.new_tensor([scale_x, scale_y, scale_x, scale_y])
        if look.mirrored:
            back[..., 0] = width - back[..., 0]
        return back


def _shrink(images: Tensor, look: Look, stride: int) -> tuple[Tensor, Size]:
    """Return the pictures at the look's scale, grey up to the stride, and their own size.

    The grey lies below and to the right, so boxes need no shift.
    """
    if look.scale == 1:
        return images, (images.shape[2], images.shape[3])
    height, width = (int(side * look.scale) for side in images.shape[2:])
    small = interpolate(images, size=(height, width), mode="bilinear", align_corners=False)
    below, right = (math.ceil(side / stride) * stride - side for side in (height, width))
    return pad(small, (0, right, 0, below), value=GREY), (height, width)


def _without(candidates: Tensor, coarsest_cells: int, level: str) -> Tensor:
    """Return the candidates but those of the named level; all of them where there is one level."""
    counts = level_counts(candidates.shape[1], coarsest_cells)
    if len(counts) < 2 or not level:
        return candidates
    if level == "finest":
        return candidates[:, counts[0] :]
    return candidates[:, : -counts[-1]]


def level_counts(candidates: int, coarsest_cells: int) -> tuple[int, ...]:
    """Return how many of the candidates belong to each level, fine to coarse.

    Strides halve from level to level, so each has four times the cells of the next; L levels of A
    anchors make A (1 + 4 + ... + 4^(L-1)) times the coarsest level's cells. The most levels for
    which A is a whole number are the answer (3 anchors: 63 is three levels, 255 four).
    """
    levels, cells = 1, 1
    for count in range(2, 7):
        total = (4**count - 1) // 3
        if candidates % (coarsest_cells * total) == 0:
            levels, cells = count, total
    coarsest = candidates // cells
    return tuple(coarsest * 4**power for power in reversed(range(levels)))
