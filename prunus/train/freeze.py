"""Rows that do not learn.

A frozen row computes exactly what it did before: its parameters take no gradient and are no part of
the optimizer, and its batch norms keep their statistics. Specification sheet, section 2.5, which
tells where others let them drift.

Where the first rows are all frozen, they run without gradients and with their batch norms folded:
nothing of them is kept for the backward pass, and less is computed.
"""

import re
from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor, nn

from prunus.core.console import table
from prunus.core.errors import TrainingError
from prunus.model.blocks import Concat
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.spec import ArchSpec

BACKBONE, NECK = "backbone", "neck"
SPAN = re.compile(r"(\d+)-(\d+)")


def frozen_rows(values: Sequence[int | str], spec: ArchSpec) -> tuple[int, ...]:
    """Read the values of `--freeze`.

    One number N means the first N rows, as in the original; several mean exactly these rows.
    "backbone" means all rows of the backbone, "neck" those between it and the head, "3-7" rows 3 to
    7, both included.

    Raises:
        TrainingError: A value is none of these, a row does not exist, or nothing would be left to
            train.
    """
    count = len(spec.rows)
    words = [str(value).strip() for value in values]
    if len(words) == 1 and words[0].isdigit():
        rows = set(range(int(words[0])))
    else:
        rows = {row for word in words for row in _rows_of(word, spec)}
    if rows and max(rows) >= count:
        raise TrainingError(
            f"freeze: there is no row {max(rows)}: the rows are 0 to {count - 1}. "
            f"`--freeze {spec.backbone_rows}` or `--freeze {BACKBONE}` freezes the backbone."
        )
    if len(rows) == count:
        raise TrainingError(
            f"freeze: all {count} rows would be frozen, nothing would learn. "
            f"`--freeze {count - 1}` leaves the head."
        )
    return tuple(sorted(rows))


def freeze_(detector: Detector, rows: Sequence[int]) -> None:
    """Make the parameters of these rows take no gradient, and all others take one."""
    detector.requires_grad_(True)
    for row in rows:
        detector.model[row].requires_grad_(False)


def set_training_(detector: Detector, rows: Sequence[int]) -> None:
    """Put the detector in training mode, but frozen rows in evaluation mode."""
    detector.train()
    for row in rows:
        detector.model[row].eval()


def frozen_parameters(detector: Detector, rows: Sequence[int]) -> tuple[int, int]:
    """Return how many parameters these rows have, and how many there are."""
    counts = _parameters(detector)
    return sum(counts[row] for row in rows), sum(counts)


def freeze_table(detector: Detector, rows: Sequence[int]) -> str:
    """Return a table of the frozen rows and what they hold."""
    counts = _parameters(detector)
    frozen, total = frozen_parameters(detector, rows)
    lines = [
        (str(row), detector.spec.rows[row].block, f"{counts[row]:,}", f"{counts[row] / total:.1%}")
        for row in rows
    ]
    lines.append(("all", f"{len(rows)} rows", f"{frozen:,}", f"{frozen / total:.1%}"))
    return table("Frozen", ("row", "block", "parameters", "share"), lines)


def leading_rows(rows: Sequence[int]) -> int:
    """Return how many rows are frozen before the first one that learns."""
    frozen, count = set(rows), 0
    while count in frozen:
        count += 1
    return count


def still_prefix(detector: Detector, rows: Sequence[int]) -> Detector:
    """Return what computes the same, with the frozen rows before all others run faster.

    All rows that learn are the detector's own modules. The first frozen ones are copies as they are
    now, folded and without gradients.
    """
    count = leading_rows(rows)
    if not count:
        return detector
    spec, names, strides = detector.spec, detector.names, detector.strides
    first = fuse(Detector(spec, names, nn.Sequential(*list(detector.model)[:count]), strides))
    still = [row if isinstance(row, Concat) else _Still(row) for row in first.model]
    network = Detector(spec, names, nn.Sequential(*still, *list(detector.model)[count:]), strides)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


class _Still(nn.Module):
    """A row that keeps nothing for a backward pass."""

    def __init__(self, row: nn.Module) -> None:
        super().__init__()
        self.row = row

    def forward(self, image: Tensor) -> Tensor:
        with torch.no_grad():
            output: Tensor = self.row(image)
        return output


def fingerprint(detector: Detector, rows: Sequence[int]) -> str:
    """Return a digest of every bit of these rows: parameters and statistics."""
    digest = blake2b(digest_size=16)
    for row in rows:
        for tensor in detector.model[row].state_dict().values():
            plain = tensor.detach().cpu().contiguous()
            digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _parameters(detector: Detector) -> list[int]:
    """Return how many parameters each row has."""
    return [sum(p.numel() for p in row.parameters()) for row in detector.model]


def _rows_of(word: str, spec: ArchSpec) -> range:
    if word == BACKBONE:
        return range(spec.backbone_rows)
    if word == NECK:
        return range(spec.backbone_rows, len(spec.rows) - 1)
    if word.isdigit():
        return range(int(word), int(word) + 1)
    span = SPAN.fullmatch(word)
    if span is None or int(span[1]) > int(span[2]):
        raise TrainingError(
            f"freeze: '{word}' is no row. Give a number of rows such as 10, several rows such as "
            f"0 1 5, a span such as 0-9, {BACKBONE} or {NECK}."
        )
    return range(int(span[1]), int(span[2]) + 1)
