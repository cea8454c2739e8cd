"""What Python callers get: detections that know their picture and their names."""

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from prunus.core.errors import ConfigError
from prunus.core.records import Detections
from prunus.data.decode import load_image
from prunus.predict.draw import Picture, draw
from prunus.predict.save import write_picture

SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Prediction(Detections):
    """Detections of one picture, most confident first.

    Attributes:
        names: All class names of the model, by index.
        source: File of the picture, or what its stream is called; None for pixels.
        number: Of a video's frame, from 0; None for a picture.
        seconds: Of a video's frame; None for a picture.
        pixels: (H, W, 3) uint8 RGB; None where the file is read again when it is needed.
    """

    names: tuple[str, ...]
    source: str | None = None
    number: int | None = None
    seconds: float | None = None
    pixels: Picture | None = field(default=None, repr=False)

    @property
    def class_names(self) -> list[str]:
        """Return the name of each detection's class."""
        return [self.names[number] for number in self.classes]

    def plot(
        self, *, line_width: int | None = None, with_names: bool = True, with_scores: bool = True
    ) -> Picture:
        """Return the picture with boxes and names, (H, W, 3) uint8 RGB.

        Args:
            line_width: In pixels; by the size of the picture if None.
            with_names: Tag each box with its class.
            with_scores: Add the score to the tag.

        Raises:
            DataError: The picture's file cannot be read any more.
        """
        return draw(
            self._picture(),
            self,
            self.names,
            line_width=line_width,
            with_names=with_names,
            with_scores=with_scores,
        )

    def save(self, path: str | Path) -> None:
        """Write the annotated picture as JPEG or PNG, by the suffix.

        Raises:
            ConfigError: The suffix is another one.
        """
        if Path(path).suffix.lower() not in SUFFIXES:
            raise ConfigError(f"{path}: pictures are written as {', '.join(SUFFIXES)}.")
        write_picture(Path(path), self.plot())

    def to_supervision(self) -> Any:
        """Return a `supervision.Detections` with the class names in its data.

        Raises:
            ConfigError: The package `supervision` is not installed.
        """
        try:
            supervision = import_module("supervision")
        except ModuleNotFoundError as error:
            raise ConfigError(
                "to_supervision: needs the package supervision. pip install supervision"
            ) from error
        return supervision.Detections(
            xyxy=self.boxes_xyxy,
            confidence=self.scores,
            class_id=self.classes,
            data={"class_name": np.array(self.class_names, dtype=str)},
        )

    def _picture(self) -> Picture:
        if self.pixels is not None:
            return self.pixels
        assert self.source is not None, "pixels without a file are kept"
        return load_image(Path(self.source))
