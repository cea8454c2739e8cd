"""`labels/NAME.txt`: YOLOv5's label lines; of a video one file, lines with frame and seconds."""

from pathlib import Path

from prunus.core.files import write_text
from prunus.core.records import Detections
from prunus.predict.outputs.line_file import LineFile
from prunus.predict.save import LABEL_FOLDER, to_label_lines
from prunus.predict.shot import Shot
from prunus.predict.stages import Stages


class Labels:
    """See `outputs.Output`."""

    def __init__(self, folder: Path, stages: Stages, *, with_scores: bool) -> None:
        self._folder, self._stages, self._with_scores = folder / LABEL_FOLDER, stages, with_scores
        self._of_video: LineFile | None = None

    def write(self, shot: Shot, detections: Detections, name: str) -> None:
        lines = to_label_lines(detections, shot.size_hw, with_scores=self._with_scores)
        path = self._folder / f"{name}.txt"
        with self._stages.measure("write"):
            if shot.moment is None:
                write_text(path, lines)
                return
            if self._of_video is None or self._of_video.path != path:
                self.close()
                self._of_video = LineFile(path)
            frame, seconds = shot.moment
            stamped = (f"{frame} {seconds:.3f} {line}\n" for line in lines.splitlines())
            self._of_video.write("".join(stamped))

    def close(self) -> None:
        if self._of_video is not None:
            self._of_video.close()
            self._of_video = None
