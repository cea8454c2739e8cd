"""Runner + pictures → detections: the loop, and the verb that writes what it finds."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunus.core.console import log, track
from prunus.core.errors import ConfigError, suggest
from prunus.core.files import write_text
from prunus.core.records import Detections, Frame, Runner
from prunus.data.letterbox import letterbox, load_for, load_image, to_planes
from prunus.evaluate.nms import non_maximum_suppression
from prunus.predict.config import CONFIDENCE, IMAGE_SIZE, IOU, MAX_DETECTIONS, PredictConfig
from prunus.predict.save import free_names, json_lines, to_record, write_results
from prunus.predict.sources import find_images

JSON_NAME = "predictions.jsonl"


@dataclass(frozen=True)
class Selection:
    """Which candidates become detections.

    Attributes:
        confidence: Least score, in [0, 1).
        iou: Overlap above which the weaker box goes.
        max_detections: Most boxes in an image.
        classes: Only these class numbers; None for all.
        agnostic: Boxes of different classes suppress each other.
    """

    confidence: float = CONFIDENCE
    iou: float = IOU
    max_detections: int = MAX_DETECTIONS
    classes: tuple[int, ...] | None = None
    agnostic: bool = False

    def apply(self, candidates: Tensor) -> list[Tensor]:
        """Return (n, 6) xyxy, score, best class per image, for (B, N, 5 + K) candidates."""
        if self.classes is not None:
            wanted = torch.zeros(candidates.shape[2] - 5, dtype=torch.bool)
            wanted[list(self.classes)] = True
            best = candidates[..., 5:].argmax(dim=-1)
            candidates = candidates.clone()
            candidates[..., 4] *= wanted.to(candidates.device)[best]
        return non_maximum_suppression(
            candidates,
            confidence=self.confidence,
            iou=self.iou,
            max_detections=self.max_detections,
            multi_label=False,
            agnostic=self.agnostic,
        )


@dataclass(frozen=True)
class Summary:
    """What a run of the verb did."""

    images: int
    detections: int
    seconds: float

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds if self.seconds else 0.0


def predict(  # noqa: PLR0913 - the thresholds are separate words of every detector's user
    runner: Runner,
    sources: Iterable[str | Path],
    *,
    image_size: int = IMAGE_SIZE,
    confidence: float = CONFIDENCE,
    iou: float = IOU,
    max_detections: int = MAX_DETECTIONS,
    classes: Sequence[int] | None = None,
    agnostic: bool = False,
) -> Iterator[tuple[Path, Detections]]:
    """Yield each image's path and what was found in it, in pixels of the image.

    Args:
        runner: A torch model or an exported file. One that takes a single size gets its own.
        sources: Images, folders and patterns.
        image_size: Long side in pixels; rounded up to a multiple of the runner's stride.
        confidence: Least score, in [0, 1).
        iou: Overlap above which the weaker box goes.
        max_detections: Most boxes in an image.
        classes: Only these class numbers; None for all.
        agnostic: Boxes of different classes suppress each other.

    Raises:
        DataError: A source names no image, or an image cannot be read.
    """
    chosen = None if classes is None else tuple(classes)
    selection = Selection(confidence, iou, max_detections, chosen, agnostic)
    for frame, detections in detect(runner, find_images(sources), image_size, selection):
        yield frame.path, detections


def detect(
    runner: Runner, paths: Sequence[Path], image_size: int, selection: Selection
) -> Iterator[tuple[Frame, Detections]]:
    """Yield each image's frame and detections, in the order of `paths`; see `predict`."""
    count = runner.batch or 1
    for start in range(0, len(paths), count):
        loaded = [_load(path, runner, image_size) for path in paths[start : start + count]]
        planes, frames = zip(*loaded, strict=True)
        # A runner of a fixed batch gets the last image again where images are lacking.
        full = (*planes, *[planes[-1]] * (count - len(planes)))
        candidates = runner(torch.from_numpy(np.stack(full)))[: len(frames)]
        for frame, kept in zip(frames, selection.apply(candidates), strict=True):
            values = kept.cpu().numpy()
            boxes = frame.to_image(values[:, :4])
            yield frame, Detections(boxes, values[:, 4], values[:, 5].astype(np.int64))


def run_predict(runner: Runner, settings: PredictConfig, folder: Path) -> Summary:
    """Predict on all sources and write pictures, label files and `predictions.jsonl` into `folder`.

    Raises:
        DataError: A source names no image, or an image cannot be read.
        ConfigError: A class is asked for that the model does not know.
    """
    paths = find_images(settings.source)
    wanted = class_numbers(settings.classes, runner.names)
    selection = Selection(
        settings.confidence, settings.iou, settings.max_detections, wanted, settings.agnostic
    )
    if runner.size_hw is not None and set(runner.size_hw) != {settings.image_size}:
        log.info(
            "%s takes %dx%d only: images are fitted into that", settings.weights, *runner.size_hw
        )
    records, found = [], 0
    start = time.perf_counter()
    results = detect(runner, paths, settings.image_size, selection)
    tracked = track(results, "predicting", len(paths))
    for (frame, detections), name in zip(tracked, free_names(paths), strict=True):
        records.append(to_record(frame.path, frame.size_hw, detections, runner.names))
        found += len(detections)
        write_results(frame, detections, runner.names, settings, folder / name)
    write_text(folder / JSON_NAME, json_lines(records))
    return Summary(len(paths), found, time.perf_counter() - start)


def class_numbers(wanted: Sequence[int | str], names: Sequence[str]) -> tuple[int, ...] | None:
    """Return the numbers of classes given by number or name; None when none is given.

    Raises:
        ConfigError: The model has no such class.
    """
    numbers = []
    for word in map(str, wanted):
        if word in names:
            numbers.append(list(names).index(word))
        elif word.isdigit() and int(word) < len(names):
            numbers.append(int(word))
        else:
            raise ConfigError(
                f"--classes: no class '{word}' among the model's {len(names)}."
                f"{suggest(word, names)} Give a name, or a number from 0 to {len(names) - 1}."
            )
    return tuple(numbers) or None


def _load(path: Path, runner: Runner, image_size: int) -> tuple[NDArray[np.uint8], Frame]:
    """Return (3, H, W) planes: the smallest canvas that holds it, or the runner's only one."""
    if runner.size_hw is None:
        return load_for(path, image_size, runner.stride, rectangular=runner.batch in (None, 1))
    image = load_image(path)
    size_hw = (image.shape[0], image.shape[1])
    height, width = runner.size_hw
    # The side at which it fits, so that it is resized once and not twice.
    fitting = round(max(size_hw) * min(height / size_hw[0], width / size_hw[1]))
    canvas, scale_yx, pad_yx = letterbox(image, fitting, runner.size_hw, scale_up=False)
    planes = np.empty((3, height, width), dtype=np.uint8)
    to_planes(canvas, planes)
    return planes, Frame(path, size_hw, scale_yx, pad_yx)
