"""A loaded model, to be called with pictures: what `prunus.load` returns."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from prunus.core.errors import ConfigError
from prunus.core.records import Detections, Runner
from prunus.model.augmented import AugmentedRunner
from prunus.predict.config import CONFIDENCE, IMAGE_SIZE, IOU, MAX_DETECTIONS, TILE_OVERLAP
from prunus.predict.detect import detect, shots_of
from prunus.predict.prediction import Prediction
from prunus.predict.selection import Selection, class_numbers
from prunus.predict.shot import Shot
from prunus.predict.sources import open_sources
from prunus.predict.sources.held import Given, HeldPicture, source_of
from prunus.predict.sources.images import PictureFile
from prunus.predict.stages import Stages
from prunus.predict.tiles import Look


class Model:
    """A detector that was loaded.

    Attributes:
        runner: What looks at batches of planes.
        title: What errors call it.
    """

    def __init__(self, runner: Runner, title: str) -> None:
        self.runner, self.title = runner, title

    @property
    def names(self) -> tuple[str, ...]:
        """Class names, by index."""
        return self.runner.names

    def __repr__(self) -> str:
        return f"<prunus model {self.title}, {len(self.names)} classes>"

    def __call__(  # noqa: PLR0913 - the thresholds are separate words of every detector's user
        self,
        images: Given | Sequence[Given],
        *,
        image_size: int = IMAGE_SIZE,
        confidence: float = CONFIDENCE,
        iou: float = IOU,
        max_detections: int = MAX_DETECTIONS,
        classes: int | str | Sequence[int | str] = (),
        agnostic: bool = False,
        augment: bool = False,
        tile: int | None = None,
        tile_overlap: float = TILE_OVERLAP,
    ) -> list[Prediction]:
        """Return what is found in each picture; always a list, of one for one picture.

        Args:
            images: One or several files, Pillow pictures or (H, W, 3) uint8 RGB arrays.
            image_size: Long side in pixels; rounded up to a multiple of the model's stride.
            confidence: Least score, in [0, 1).
            iou: Overlap above which the weaker box goes, in [0, 1].
            max_detections: Most boxes in a picture.
            classes: Only these, by number or name; empty for all.
            agnostic: Boxes of different classes suppress each other.
            augment: Look three times, at three sizes, once mirrored.
            tile: Look at larger pictures also in tiles of this side, in their pixels.
            tile_overlap: Least share of a tile that the next one shows again, in [0, 1).

        Raises:
            DataError: A picture cannot be read, or is none.
            ConfigError: No such class, `augment` of a model that takes one size, or a number out of
                its range.
        """
        several = isinstance(images, list | tuple)
        given: Sequence[Given] = images if several else [images]  # type: ignore[assignment, list-item]
        sources = (source_of(each, f"images[{place}]") for place, each in enumerate(given))
        selection = self._selection(confidence, iou, max_detections, classes, agnostic)
        look = Look(image_size, tile, tile_overlap)
        return list(self._look_at(shots_of(sources, Stages()), look, selection, augment=augment))

    def stream(  # noqa: PLR0913 - as above
        self,
        sources: str | Path | Sequence[str | Path],
        *,
        vid_stride: int = 1,
        image_size: int = IMAGE_SIZE,
        confidence: float = CONFIDENCE,
        iou: float = IOU,
        max_detections: int = MAX_DETECTIONS,
        classes: int | str | Sequence[int | str] = (),
        agnostic: bool = False,
        augment: bool = False,
        tile: int | None = None,
        tile_overlap: float = TILE_OVERLAP,
    ) -> Iterator[Prediction]:
        """Yield what is found in each picture and each frame, one at a time.

        Args:
            sources: Pictures, videos, folders, patterns; a camera's number; an rtsp:// address.
            vid_stride: Of videos and streams, every so many-th frame.
            image_size: As for a call, like all that follow.
            confidence: Least score.
            iou: Overlap above which the weaker box goes.
            max_detections: Most boxes in a picture.
            classes: Only these, by number or name.
            agnostic: Boxes of different classes suppress each other.
            augment: Look three times.
            tile: Side of tiles.
            tile_overlap: Of tiles.

        Raises:
            DataError: A source means nothing, or cannot be read.
            ConfigError: As for a call.
        """
        words = [sources] if isinstance(sources, str | Path) else list(sources)
        opened = open_sources(words, vid_stride=vid_stride)
        selection = self._selection(confidence, iou, max_detections, classes, agnostic)
        look = Look(image_size, tile, tile_overlap)
        shots = shots_of(opened.each, Stages())
        return self._look_at(shots, look, selection, augment=augment, early=opened.early)

    def _selection(
        self,
        confidence: float,
        iou: float,
        max_detections: int,
        classes: int | str | Sequence[int | str],
        agnostic: bool,
    ) -> Selection:
        if not 0 <= confidence < 1 or not 0 <= iou <= 1:
            raise ConfigError(
                f"confidence {confidence:g}, iou {iou:g}: give confidence in [0, 1), iou in [0, 1]."
            )
        if max_detections < 1:
            raise ConfigError(f"max_detections: must be at least 1, got {max_detections}.")
        numbers = class_numbers(classes, self.names)
        return Selection(confidence, iou, max_detections, numbers, agnostic)

    def _look_at(
        self,
        shots: Iterable[Shot],
        look: Look,
        selection: Selection,
        *,
        augment: bool,
        early: bool = False,
    ) -> Iterator[Prediction]:
        runner = AugmentedRunner(self.runner, self.title) if augment else self.runner
        results = detect(runner, shots, look, selection, Stages(), early=early)
        return (_prediction(shot, found, self.names) for shot, found in results)


def _prediction(shot: Shot, found: Detections, names: tuple[str, ...]) -> Prediction:
    """Join a shot and what was found; a picture's file is named instead of its pixels."""
    from_file = isinstance(shot.source, PictureFile)
    return Prediction(
        found.boxes_xyxy,
        found.scores,
        found.classes,
        names,
        source=None if isinstance(shot.source, HeldPicture) else shot.source.title,
        number=shot.number,
        seconds=shot.seconds,
        pixels=None if from_file else shot.image,
    )
