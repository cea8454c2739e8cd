"""YOLOv5 v6 (n, s, m, l, x and their P6 variants): depth and width rules, and the table of blocks.

Depth: n' = max(round(n·gain), 1) for n > 1, rounding halves to even as Python does. A C3 may have 0
bottlenecks: they were removed. Width: c' = ceil(c·gain / 8)·8, except where c is the width of an
output convolution.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from prunus.core.errors import ModelError, suggest
from prunus.model.blocks import C3, SPPF, Concat, ConvBlock, Detect
from prunus.model.spec import ArchSpec, Argument, Row

WIDTH_STEP = 8
UP_FACTOR = 2


def build_row(
    spec: ArchSpec, row: Row, inputs: Sequence[int], classes: int
) -> tuple[nn.Module, int]:
    """Build one row.

    Returns:
        The module and the number of channels that it puts out.

    Raises:
        ModelError: The family has no such block, or the arguments or repeats do not suit it.
    """
    if row.block not in BLOCKS:
        raise ModelError(
            f"block '{row.block}' is not one of YOLOv5 v6's: {', '.join(BLOCKS)}."
            f"{suggest(row.block, BLOCKS)}"
        )
    if row.repeats < 1 and row.block not in MAY_REPEAT_NEVER:
        raise ModelError(
            f"block '{row.block}' needs 1 repeat or more, got {row.repeats}. Only "
            f"{', '.join(MAY_REPEAT_NEVER)} may have none."
        )
    try:
        return BLOCKS[row.block](spec, row, inputs, classes)
    except (TypeError, ValueError, IndexError) as error:
        raise ModelError(
            f"block '{row.block}' does not take the arguments {list(row.arguments)}: {error}."
        ) from error


def repeated_chain(module: nn.Module) -> nn.Sequential | None:
    """Return what a row's `repeats` count, or None for a row that is one whole."""
    return module.m if isinstance(module, C3) else None


def repeats_of(module: nn.Module) -> int:
    """Return how often a row's block repeats, as it is."""
    chain = repeated_chain(module)
    return 1 if chain is None else len(chain)


def scaled_repeats(repeats: int, gain: float) -> int:
    """Return the repeats that a row gets: 0 and 1 are never scaled."""
    return max(round(repeats * gain), 1) if repeats > 1 else repeats


def scaled_width(width: int, gain: float, output_width: int) -> int:
    """Return the channels that a row with `width` gets; `output_width` itself is never scaled."""
    if width == output_width:
        return width
    return math.ceil(width * gain / WIDTH_STEP) * WIDTH_STEP


def _width(spec: ArchSpec, value: Argument, classes: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"channels must be a positive whole number, got {value!r}")
    return scaled_width(value, spec.width_multiple, len(spec.anchors_px[0]) * (classes + 5))


def _integers(values: Sequence[Argument]) -> list[int | None]:
    if not all(value is None or type(value) is int for value in values):
        raise ValueError("expected whole numbers")
    return [value if isinstance(value, int) else None for value in values]


def _conv(spec: ArchSpec, row: Row, inputs: Sequence[int], classes: int) -> tuple[nn.Module, int]:
    outputs = _width(spec, row.arguments[0], classes)
    kernel, stride, padding = (*_integers(row.arguments[1:]), None, None, None)[:3]
    return ConvBlock(inputs[0], outputs, kernel or 1, stride or 1, padding), outputs


def _c3(spec: ArchSpec, row: Row, inputs: Sequence[int], classes: int) -> tuple[nn.Module, int]:
    outputs = _width(spec, row.arguments[0], classes)
    shortcut = row.arguments[1] if len(row.arguments) > 1 else True
    repeats = scaled_repeats(row.repeats, spec.depth_multiple)
    return C3(inputs[0], outputs, repeats, shortcut=bool(shortcut)), outputs


def _sppf(spec: ArchSpec, row: Row, inputs: Sequence[int], classes: int) -> tuple[nn.Module, int]:
    outputs = _width(spec, row.arguments[0], classes)
    (kernel,) = _integers(row.arguments[1:2]) or (5,)
    return SPPF(inputs[0], outputs, kernel or 5), outputs


def _upsample(
    _spec: ArchSpec, row: Row, inputs: Sequence[int], _classes: int
) -> tuple[nn.Module, int]:
    if list(row.arguments) != [None, UP_FACTOR, "nearest"]:
        raise ValueError("expected [None, 2, nearest]")
    return nn.Upsample(scale_factor=UP_FACTOR, mode="nearest"), inputs[0]


def _concat(
    _spec: ArchSpec, row: Row, inputs: Sequence[int], _classes: int
) -> tuple[nn.Module, int]:
    if list(row.arguments) not in ([], [1]):
        raise ValueError("only channels (dimension 1) are joined")
    return Concat(), sum(inputs)


def _detect(
    spec: ArchSpec, _row: Row, inputs: Sequence[int], classes: int
) -> tuple[nn.Module, int]:
    anchors = torch.tensor(
        spec.anchors_px, dtype=torch.float32
    )  # pixels; `build` turns them to cells
    return Detect(list(inputs), classes, anchors), 0


BLOCKS: dict[str, Callable[[ArchSpec, Row, Sequence[int], int], tuple[nn.Module, int]]] = {
    "Conv": _conv,
    "C3": _c3,
    "SPPF": _sppf,
    "nn.Upsample": _upsample,
    "Concat": _concat,
    "Detect": _detect,
}
MAY_REPEAT_NEVER = ("C3",)
"""Blocks that are still something without their repeats."""
