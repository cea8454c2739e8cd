"""Annotated pictures, and annotated videos of videos and streams."""

from collections.abc import Sequence
from pathlib import Path

from prunus.core.files import write_atomically
from prunus.core.records import Detections
from prunus.predict.draw import draw
from prunus.predict.outputs.film import SUFFIX, Film
from prunus.predict.save import encode_picture, picture_suffix
from prunus.predict.shot import Shot
from prunus.predict.stages import Stages


class Drawn:
    """See `outputs.Output`."""

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        stages: Stages,
        *,
        line_width: int | None = None,
        with_names: bool = True,
        with_scores: bool = True,
    ) -> None:
        self._folder, self._names, self._stages = folder, names, stages
        self._line_width = line_width
        self._with_names, self._with_scores = with_names, with_scores
        self._film: Film | None = None
        self._film_of, self._parts = "", 0

    def write(self, shot: Shot, detections: Detections, name: str) -> None:
        with self._stages.measure("draw"):
            picture = draw(
                shot.image,
                detections,
                self._names,
                line_width=self._line_width,
                with_names=self._with_names,
                with_scores=self._with_scores,
            )
            if shot.source.fps is not None:
                self._film_for(shot, name).add(picture, shot.seconds if shot.source.live else None)
                return
            suffix = picture_suffix(shot.size_hw, lossless=shot.source.lossless)
            content = encode_picture(picture, suffix)
        with self._stages.measure("write"):
            write_atomically(
                self._folder / f"{name}{suffix}", lambda temporary: temporary.write_bytes(content)
            )

    def close(self) -> None:
        if self._film is not None:
            self._film.close()
            self._film = None

    def _film_for(self, shot: Shot, name: str) -> Film:
        """Return the video that the frame belongs into: a new one where its size has changed."""
        same_source = self._film is not None and self._film_of == name
        if self._film is not None and same_source and self._film.size_hw == shot.size_hw:
            return self._film
        self.close()
        self._parts = self._parts + 1 if same_source else 1
        part = f"{name}{SUFFIX}" if self._parts == 1 else f"{name}.part{self._parts}{SUFFIX}"
        assert shot.source.fps is not None
        self._film_of = name
        self._film = Film(self._folder / part, shot.size_hw, shot.source.fps)
        return self._film
