"""Rows that do not learn.

A frozen row computes exactly what it did before: its parameters take no gradient and are no part of
the optimizer, and its batch norms keep their statistics. Specification sheet, section 2.5, which
tells where others let them drift.
"""

import re
from collections.abc import Sequence

from prunus.core.console import table
from prunus.core.errors import TrainingError
from prunus.model.detector import Detector
from prunus.model.spec import ArchSpec

BACKBONE = "backbone"
SPAN = re.compile(r"(\d+)-(\d+)")


def frozen_rows(values: Sequence[int | str], spec: ArchSpec) -> tuple[int, ...]:
    """Read the values of `--freeze`.

    One number N means the first N rows, as in the original; several mean exactly these rows.
    "backbone" means all rows of the backbone, "3-7" rows 3 to 7, both included.

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


def freeze_table(detector: Detector, rows: Sequence[int]) -> str:
    """Return a table of the frozen rows and what they hold."""
    counts = [sum(p.numel() for p in row.parameters()) for row in detector.model]
    total = sum(counts)
    lines = [
        (str(row), detector.spec.rows[row].block, f"{counts[row]:,}", f"{counts[row] / total:.1%}")
        for row in rows
    ]
    frozen = sum(counts[row] for row in rows)
    lines.append(("all", f"{len(rows)} rows", f"{frozen:,}", f"{frozen / total:.1%}"))
    return table("Frozen", ("row", "block", "parameters", "share"), lines)


def _rows_of(word: str, spec: ArchSpec) -> range:
    if word == BACKBONE:
        return range(spec.backbone_rows)
    if word.isdigit():
        return range(int(word), int(word) + 1)
    span = SPAN.fullmatch(word)
    if span is None or int(span[1]) > int(span[2]):
        raise TrainingError(
            f"freeze: '{word}' is no row. Give a number of rows such as 10, several rows such as "
            f"0 1 5, a span such as 0-9, or {BACKBONE}."
        )
    return range(int(span[1]), int(span[2]) + 1)
