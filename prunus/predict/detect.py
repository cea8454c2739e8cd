"""Shots in, detections out: the loop that everything here goes through."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from torch import Tensor

from prunus.core.errors import DataError
from prunus.core.records import Detections, Runner
from prunus.predict.ahead import ahead
from prunus.predict.fit import Fitted, fit, run_on
from prunus.predict.selection import Selection
from prunus.predict.shot import Shot, Source
from prunus.predict.stages import Stages
from prunus.predict.tiles import Look, look_at_tiles


def shots_of(
    sources: Iterable[Source],
    stages: Stages,
    unreadable: Callable[[DataError], object] | None = None,
) -> Iterator[Shot]:
    """Yield the shots of all sources.

    Args:
        sources: One after another.
        stages: Told how long decoding takes.
        unreadable: Told what cannot be read, and the next source follows; None to raise it.

    Raises:
        DataError: A source cannot be read.
    """
    for source in sources:
        iterator = iter(source)
        while True:
            try:
                with stages.measure("decode"):
                    shot = next(iterator, None)
            except DataError as error:
                if unreadable is None:
                    raise
                unreadable(error)
                break
            if shot is None:
                break
            yield shot


def detect(
    runner: Runner,
    shots: Iterable[Shot],
    look: Look,
    selection: Selection,
    stages: Stages,
    *,
    early: bool = False,
) -> Generator[tuple[Shot, Detections], None, None]:
    """Yield each shot and what was found in it, most confident first, in its own pixels.

    Args:
        runner: What looks.
        shots: In this order.
        look: How.
        selection: Which candidates count.
        stages: Told how long things take.
        early: Read and fit the next shots in a thread, while the last one is looked at.
    """
    ready = _fitted(runner, shots, look.image_size, stages)
    if early:
        ready = ahead(ready)
    while group := list(islice(ready, 1 if look.tile else runner.batch or 1)):
        for each, found in zip(group, _found(runner, group, look, selection, stages), strict=True):
            yield each.shot, found


@dataclass(frozen=True)
class _Ready:
    """A shot that can be looked at."""

    shot: Shot
    fitted: Fitted


def _fitted(
    runner: Runner, shots: Iterable[Shot], image_size: int, stages: Stages
) -> Iterator[_Ready]:
    for shot in shots:
        with stages.measure("letterbox"):
            fitted = fit(shot.image, runner, image_size, Path(shot.source.title))
        yield _Ready(shot, fitted)


def _found(
    runner: Runner, group: Sequence[_Ready], look: Look, selection: Selection, stages: Stages
) -> list[Detections]:
    if look.tile is not None and max(group[0].shot.size_hw) > look.tile:
        (each,) = group
        rows = look_at_tiles(runner, each.shot.image, each.fitted, look, selection, stages)
        return [_detections(rows)]
    with stages.measure("inference"):
        candidates = run_on(runner, [each.fitted for each in group])
    with stages.measure("nms"):
        kept = selection.apply(candidates)
        return [_detections(rows, each.fitted) for rows, each in zip(kept, group, strict=True)]


def _detections(rows: Tensor, fitted: Fitted | None = None) -> Detections:
    """Return (n, 6) rows as a record, carried back from the canvas if they lie in one."""
    values = rows.cpu().numpy()
    boxes = values[:, :4] if fitted is None else fitted.frame.to_image(values[:, :4])
    return Detections(boxes, values[:, 4], values[:, 5].astype(np.int64))
