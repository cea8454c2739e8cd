"""The open table of architecture families: how rows become modules.

A new family is one file here with a `build_row` function, its YAML under `archs/`, and its line in
FAMILIES.
"""

from collections.abc import Callable, Sequence

from torch import nn

from prunus.model.families import yolov5
from prunus.model.spec import ArchSpec, Row

RowBuilder = Callable[[ArchSpec, Row, Sequence[int], int], tuple[nn.Module, int]]
"""(spec, row, channels of its inputs, classes) → (module, its output channels)."""

FAMILIES: dict[str, RowBuilder] = {"yolov5": yolov5.build_row}
