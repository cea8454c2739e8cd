"""`predictions.jsonl`: one JSON object a picture or frame."""

from collections.abc import Sequence
from pathlib import Path

from prunus.core.records import Detections
from prunus.predict.outputs.line_file import LineFile
from prunus.predict.save import json_line, to_record
from prunus.predict.shot import Shot
from prunus.predict.stages import Stages

NAME = "predictions.jsonl"


class JsonLines:
    """See `outputs.Output`."""

    def __init__(self, folder: Path, names: Sequence[str], stages: Stages) -> None:
        self._file, self._names, self._stages = LineFile(folder / NAME), names, stages

    def write(self, shot: Shot, detections: Detections, name: str) -> None:  # noqa: ARG002 - one file
        with self._stages.measure("write"):
            record = to_record(
                shot.source.title, shot.size_hw, detections, self._names, shot.moment
            )
            self._file.write(json_line(record))

    def close(self) -> None:
        self._file.close()
