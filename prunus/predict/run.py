"""Runner + sources → files: the loop of the verb, which writes what it finds."""

import io
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from prunus.core.console import log, track
from prunus.core.errors import DataError, printable
from prunus.core.records import Runner
from prunus.model.augmented import AugmentedRunner
from prunus.predict.config import PredictConfig
from prunus.predict.detect import detect, shots_of
from prunus.predict.outputs import outputs_of
from prunus.predict.selection import Selection, class_numbers
from prunus.predict.sources import STDIN, Sources, open_sources
from prunus.predict.sources.live import LiveSource
from prunus.predict.stages import Stages
from prunus.predict.tiles import Look

MOST_TOLD = 20
"""Sources that could not be read are named up to this many."""


@dataclass
class Summary:
    """What a run of the verb did; it grows while that runs.

    Attributes:
        images: Pictures and frames that were looked at.
        detections: Boxes in them.
        seconds: The run took.
        unreadable: What could not be read, a line each.
        stages: How long each stage took.
        live: The camera or stream, if there was one.
        stopped: What ended the run early: Ctrl-C or SIGTERM.
    """

    images: int = 0
    detections: int = 0
    seconds: float = 0.0
    unreadable: list[str] = field(default_factory=list)
    stages: Stages = field(default_factory=Stages)
    live: LiveSource | None = None
    stopped: BaseException | None = None

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds if self.seconds else 0.0


def run_predict(runner: Runner, settings: PredictConfig, folder: Path) -> Summary:
    """Predict on all sources and write what the settings ask for into `folder`.

    What cannot be read is left out, and told at the end. Ctrl-C and SystemExit end the run early;
    what was written until then is kept, and `Summary.stopped` says so.

    Raises:
        DataError: A source names nothing, or nothing could be read.
        ConfigError: A class is asked for that the model does not know, or `--augment` of a runner
            that takes one size.
    """
    listed = _standard_input() if STDIN in settings.source else ()
    sources = open_sources(settings.source, vid_stride=settings.vid_stride, listed=listed)
    selection = Selection(
        settings.confidence,
        settings.iou,
        settings.max_detections,
        class_numbers(settings.classes, runner.names),
        settings.agnostic,
    )
    if settings.augment:
        runner = AugmentedRunner(runner, settings.weights.name)
    if runner.size_hw is not None and set(runner.size_hw) != {settings.image_size}:
        log.info(
            "%s takes %dx%d only: images are fitted into that", settings.weights, *runner.size_hw
        )
    summary = Summary()
    start = time.perf_counter()
    try:
        _look_and_write(runner, sources, settings, selection, folder, summary)
    except (KeyboardInterrupt, SystemExit) as stop:
        summary.stopped = stop
    summary.seconds = time.perf_counter() - start
    _tell_unreadable(summary)
    return summary


def _standard_input() -> Iterable[str]:
    """Return its lines, also of files whose names are no Unicode."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    return sys.stdin


def _look_and_write(
    runner: Runner,
    sources: Sources,
    settings: PredictConfig,
    selection: Selection,
    folder: Path,
    summary: Summary,
) -> None:
    look = Look(settings.image_size, settings.tile, settings.tile_overlap)
    shots = shots_of(
        sources.each, summary.stages, lambda error: summary.unreadable.append(printable(str(error)))
    )
    results = detect(runner, shots, look, selection, summary.stages, early=sources.early)
    with (
        closing(results),
        outputs_of(settings, folder, runner.names, summary.stages) as outputs,
    ):
        for shot, detections in track(results, "predicting", sources.count):
            if isinstance(shot.source, LiveSource):
                summary.live = shot.source
            outputs.write(shot, detections)
            summary.images += 1
            summary.detections += len(detections)


def _tell_unreadable(summary: Summary) -> None:
    """Log what was left out.

    Raises:
        DataError: There was nothing else.
    """
    lines = summary.unreadable
    if lines and not summary.images and not summary.stopped:
        more = f" And {len(lines) - 1} more could not be read." if len(lines) > 1 else ""
        raise DataError(lines[0] + more)
    if not summary.images and not summary.stopped:
        raise DataError("no source: the list on standard input is empty. Give one path a line.")
    for line in lines[:MOST_TOLD]:
        log.warning("left out: %s", line)
    if len(lines) > MOST_TOLD:
        log.warning("left out: %d more", len(lines) - MOST_TOLD)
