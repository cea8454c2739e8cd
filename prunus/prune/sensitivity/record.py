"""`sensitivity.jsonl`: what was measured, on the first line; then one point a line, as they come.

A run that is stopped loses the point in work and nothing else: a last line that was cut off is left
out when the file is read.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prunus.core.errors import PruningError
from prunus.core.files import write_text
from prunus.prune.sensitivity.points import Point

RECORD = "sensitivity.jsonl"
FORMAT_VERSION = 1
Curve = list[tuple[float, float]]
"""(share of the channels removed, what is lost of the score), from (0, 0) to (1, all of it)."""


@dataclass(frozen=True)
class Header:
    """What the points of a file have in common.

    Attributes:
        weights_sha256: Of the weights file that was measured.
        settings: JSON-ready settings that the scores depend on, the data's SHA-256 among them.
        score: What the judge measures, such as map50_95.
        dense: Score of the whole network.
        order: Indices of each group's channels, the first to go first.
    """

    weights_sha256: str
    settings: Mapping[str, Any]
    score: str
    dense: float
    order: Mapping[str, list[int]]

    def check(self, weights_sha256: str, settings: Mapping[str, Any], where: Path) -> None:
        """Refuse to go on with other weights or settings.

        Raises:
            PruningError: They differ; the message says in what.
        """
        if weights_sha256 != self.weights_sha256:
            raise PruningError(
                f"{where}: holds points of other weights (SHA-256 {self.weights_sha256[:12]}…, not "
                f"{weights_sha256[:12]}…). Give those, or write into another folder with --out."
            )
        changed = [
            f"{name} {_shown(self.settings.get(name))}, not {_shown(settings.get(name))}"
            for name in sorted({*self.settings, *settings})
            if self.settings.get(name) != settings.get(name)
        ]
        if changed:
            raise PruningError(
                f"{where}: was measured with {'; '.join(changed)}. Give the same settings, or "
                "write into another folder with --out."
            )


@dataclass(frozen=True)
class Record:
    """A file that was read: its first line, and its points by group and removed channels."""

    header: Header
    points: Mapping[tuple[str, int], Point]

    @property
    def order(self) -> dict[str, Tensor]:
        """Return the order of removal of each group, (n,) indices."""
        return {name: torch.tensor(channels) for name, channels in self.header.order.items()}


def read_sensitivity(path: Path) -> Mapping[str, Curve]:
    """Return the curve of each group: (ratio, drop of the score), both ends included.

    A drop is in the units of the score (mAP50-95, or the relative squared error of the outputs
    where it was measured with --quick), and may be negative where the judge is noisy.

    Raises:
        PruningError: The file is missing, damaged or holds no points.
    """
    return curves_of(read_record(path))


def curves_of(record: Record) -> dict[str, Curve]:
    """Return the curve of each group that has points."""
    dense = record.header.dense
    curves: dict[str, Curve] = {}
    for point in sorted(record.points.values(), key=lambda point: point.removed):
        curve = curves.setdefault(point.group, [(0.0, 0.0)])
        curve.append((point.ratio, dense - point.score))
    return {
        name: [*curves[name], (1.0, max(dense, curves[name][-1][1]))]
        for name in record.header.order
        if name in curves
    }


def begin(path: Path, header: Header) -> Record:
    """Write a new file that holds no points."""
    write_text(path, json.dumps({"format_version": FORMAT_VERSION, **asdict(header)}) + "\n")
    return Record(header, {})


def append(path: Path, point: Point) -> None:
    """Add a point.

    Raises:
        PruningError: The file cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**asdict(point), "ratio": point.ratio}) + "\n")
    except OSError as error:
        raise PruningError(
            f"{path}: not written: {error.strerror or error}. Free space, and start again with "
            "--resume."
        ) from error


def mend(path: Path) -> None:
    """Take away a last line that was cut off."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if not text.endswith("\n"):
        write_text(path, text[: text.rfind("\n") + 1])


def read_record(path: Path) -> Record:
    """Read a file.

    Raises:
        PruningError: It is missing, damaged, not such a file, or a newer Prunus wrote it.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise PruningError(
            f"{path}: cannot be read: {error.strerror}. `prunus sensitivity` writes {RECORD}."
        ) from error
    lines = text[: text.rfind("\n") + 1].splitlines()
    try:
        header = _read_header(path, json.loads(lines[0]))
        points = [_read_point(json.loads(line)) for line in lines[1:]]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise PruningError(
            f"{path}: damaged, or not written by `prunus sensitivity`. Measure anew."
        ) from error
    return Record(header, {point.key: point for point in points})


def _read_header(path: Path, line: dict[str, Any]) -> Header:
    version = line.pop("format_version")
    if version != FORMAT_VERSION:
        raise PruningError(
            f"{path}: has format {version}, this Prunus reads {FORMAT_VERSION}. Update Prunus, or "
            "measure anew."
        )
    return Header(**line)


def _read_point(line: dict[str, Any]) -> Point:
    del line["ratio"]
    return Point(**line)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value)
