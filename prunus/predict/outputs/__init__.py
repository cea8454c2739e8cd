"""What is written of each shot: one file here for each kind of output."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from prunus.core.records import Detections
from prunus.predict.config import PredictConfig
from prunus.predict.outputs.crops import Crops
from prunus.predict.outputs.csv_table import CsvTable
from prunus.predict.outputs.drawn import Drawn
from prunus.predict.outputs.json_lines import JsonLines
from prunus.predict.outputs.labels import Labels
from prunus.predict.save import FreeNames
from prunus.predict.shot import Shot, Source
from prunus.predict.stages import Stages


class Output(Protocol):
    """One kind of file."""

    def write(self, shot: Shot, detections: Detections, name: str) -> None:
        """Write one shot.

        Args:
            shot: Comes after all others of its source.
            detections: In its pixels.
            name: Of its source, for files: no other has it.

        Raises:
            PrunusError: It cannot be written.
        """
        ...

    def close(self) -> None:
        """Bring what was written into its last form, also when the run was stopped."""
        ...


class Outputs:
    """All outputs of a run: a context, at whose end every file has its last form."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        self._outputs = outputs
        self._names = FreeNames()
        self._source: Source | None = None
        self._name = ""

    def __enter__(self) -> "Outputs":
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:  # all are closed, whichever fails
            for output in self._outputs:
                stack.callback(output.close)

    def write(self, shot: Shot, detections: Detections) -> None:
        """Write one shot to all of them."""
        if shot.source is not self._source:
            is_video = shot.source.fps is not None
            self._source = shot.source
            self._name = self._names.of(shot.source.stem, video=is_video)
        for output in self._outputs:
            output.write(shot, detections, self._name)


def outputs_of(
    settings: PredictConfig, folder: Path, names: Sequence[str], stages: Stages
) -> Outputs:
    """Return what the settings ask for.

    Args:
        settings: What to write, and how to draw.
        folder: Where to.
        names: Class names, by index.
        stages: Told how long things take.
    """
    chosen: list[Output] = [JsonLines(folder, names, stages)]
    if settings.save_csv:
        chosen.append(CsvTable(folder, names, stages))
    if settings.save_txt:
        chosen.append(Labels(folder, stages, with_scores=settings.save_conf))
    if settings.save_crops:
        chosen.append(Crops(folder, names, stages))
    if settings.save_images:
        drawn = Drawn(
            folder,
            names,
            stages,
            line_width=settings.line_width,
            with_names=not settings.hide_labels,
            with_scores=not settings.hide_conf,
        )
        chosen.append(drawn)
    return Outputs(chosen)
