"""`predictions.csv`: one line a box."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from prunus.core.records import Detections
from prunus.data.problems import cell
from prunus.predict.outputs.line_file import LineFile
from prunus.predict.shot import Shot
from prunus.predict.stages import Stages

NAME = "predictions.csv"
HEADER = (
    "image", "frame", "seconds", "class", "name", "score", "left", "top", "right", "bottom",
)  # fmt: skip


class CsvTable:
    """See `outputs.Output`. Frame and seconds are empty for pictures; boxes are in pixels."""

    def __init__(self, folder: Path, names: Sequence[str], stages: Stages) -> None:
        self._file, self._stages = LineFile(folder / NAME), stages
        self._names = [cell(name) for name in names]
        self._begun = False

    def write(self, shot: Shot, detections: Detections, name: str) -> None:  # noqa: ARG002 - one file
        with self._stages.measure("write"):
            lines = [] if self._begun else [HEADER]
            self._begun = True
            self._file.write(to_csv([*lines, *self._rows(shot, detections)]))

    def close(self) -> None:
        self._file.close()

    def _rows(self, shot: Shot, detections: Detections) -> list[tuple[object, ...]]:
        image = cell(shot.source.title)
        frame, seconds = ("", "") if shot.moment is None else map(_short, shot.moment)
        return [
            (
                image,
                frame,
                seconds,
                int(number),
                self._names[number],
                f"{score:.4f}",
                *map(_px, box),
            )
            for number, score, box in zip(
                detections.classes, detections.scores, detections.boxes_xyxy, strict=True
            )
        ]


def to_csv(rows: Sequence[Sequence[object]]) -> str:
    """Return rows as lines that end with a line feed."""
    page = io.StringIO()
    csv.writer(page, lineterminator="\n").writerows(rows)
    return page.getvalue()


def _px(side: float) -> str:
    return f"{side:.2f}"


def _short(value: float) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
