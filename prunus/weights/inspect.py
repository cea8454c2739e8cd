"""What each row of a detector is: widths, parameters, operations, and what freezing would do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from prunus.core.console import table
from prunus.core.records import Size
from prunus.model.build import DRY_RUN_SIDE, dry_run
from prunus.model.cost import PUBLISHED_SIZE, count_parameters, flops_by_layer
from prunus.model.detector import Detector
from prunus.model.families.yolov5 import repeats_of


@dataclass(frozen=True)
class RowInfo:
    """One row of a detector, as it is (a pruned row tells its pruned widths).

    Attributes:
        index: Its number, as in `model.<index>`.
        block: Its block's name in the architecture.
        repeats: How often its block repeats, as it is; 0 for a C3 without bottlenecks.
        sources: Numbers of the rows that it reads; -1 is the image.
        in_channels: Channels of each input.
        out_channels: Channels that it puts out; of the head, those of each level together.
        parameters: Of this row.
        flops: Operations for one image, two per multiply-accumulate, convolutions only.
        backbone: Whether it belongs to the backbone.
        frozen_share: Share of all parameters that `--freeze <index + 1>` would freeze.
    """

    index: int
    block: str
    repeats: int
    sources: tuple[int, ...]
    in_channels: tuple[int, ...]
    out_channels: int
    parameters: int
    flops: int
    backbone: bool
    frozen_share: float


def inspect_rows(detector: Detector, size_hw: Size = PUBLISHED_SIZE) -> list[RowInfo]:
    """Return one record a row.

    Args:
        detector: Any; left as it is.
        size_hw: Input size for the operations, multiples of the detector's stride.
    """
    widths = _widths(detector)
    flops = [0] * len(detector.model)
    for name, count in flops_by_layer(detector, size_hw).items():
        flops[int(name.split(".")[1])] += count
    total = max(count_parameters(detector), 1)
    frozen = 0
    infos = []
    for index, (row, module) in enumerate(zip(detector.spec.rows, detector.model, strict=True)):
        parameters = count_parameters(module)
        frozen += parameters
        infos.append(
            RowInfo(
                index=index,
                block=row.block,
                repeats=repeats_of(module),
                sources=tuple(s if s >= 0 else index + s for s in row.sources),
                in_channels=widths[index][0],
                out_channels=widths[index][1],
                parameters=parameters,
                flops=flops[index],
                backbone=index < detector.spec.backbone_rows,
                frozen_share=frozen / total,
            )
        )
    return infos


def rows_table(rows: Sequence[RowInfo]) -> str:
    """Return the rows as a table for people."""
    header = (
        "row",
        "block",
        "repeats",
        "from",
        "in",
        "out",
        "parameters",
        "GFLOPs",
        "--freeze row+1",
    )
    lines = [
        (
            row.index,
            row.block,
            row.repeats,
            "+".join(map(str, row.sources)),
            "+".join(map(str, row.in_channels)),
            row.out_channels,
            f"{row.parameters:,}",
            f"{row.flops / 1e9:.3f}",
            f"{row.frozen_share:.1%}",
        )
        for row in rows
    ]
    return table("Rows", header, lines)


def _widths(detector: Detector) -> dict[int, tuple[tuple[int, ...], int]]:
    """Return per row the channels of its inputs and of its output, seen in a run on shapes."""
    seen: dict[int, tuple[tuple[int, ...], int]] = {}
    head = detector.head

    def watcher(index: int) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            tensors: list[Tensor] = inputs[0] if isinstance(inputs[0], list) else [inputs[0]]
            outputs = (
                sum(level.shape[1] * level.shape[4] for level in output)
                if module is head
                else output.shape[1]
            )
            seen[index] = (tuple(tensor.shape[1] for tensor in tensors), outputs)

        return hook

    handles = [row.register_forward_hook(watcher(i)) for i, row in enumerate(detector.model)]
    try:
        dry_run(detector, DRY_RUN_SIDE, DRY_RUN_SIDE)
    finally:
        for handle in handles:
            handle.remove()
    return seen
