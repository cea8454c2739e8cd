"""Runner + labelled images -> `Evaluation`: YOLOv5's and COCO's figures of the same detections.

Anything that predicts can be judged, since it only has to be a `core.records.Runner`. Detections
are carried back to pixels of the image on disk, clipped to it, and compared there with the labels
(`spec/yolov5.md` 2.7, 2.11). The timings are a by-product: no result depends on them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from prunus.core.boxes import xywh_to_xyxy
from prunus.core.console import track
from prunus.core.errors import DataError
from prunus.core.records import Batch, Detections, Frame, Runner, Size
from prunus.evaluate.average_precision import AveragePrecision, average_precision
from prunus.evaluate.coco import Labels, coco_metrics
from prunus.evaluate.evaluation import ClassMetrics, Evaluation
from prunus.evaluate.match import IOU_THRESHOLDS, match_detections
from prunus.evaluate.nms import non_maximum_suppression

if TYPE_CHECKING:
    from prunus.data.index import ImageIndex

__all__ = ["ClassMetrics", "Evaluation", "evaluate"]

SINGLE_CLASS_NAME = "object"
STAGES = ("preprocess", "inference", "nms", "matching")

Item = TypeVar("Item")
Suppress = Callable[[Tensor], list[Tensor]]
"""(B, N, 5 + K) candidates -> B tensors (n, 6), as `nms.non_maximum_suppression` returns them."""


def evaluate(  # noqa: PLR0913 - the five switches are separate settings of the verb
    runner: Runner,
    batches: Iterable[Batch],
    index: "ImageIndex",
    *,
    confidence: float = 0.001,
    iou: float = 0.6,
    max_detections: int = 300,
    single_class: bool = False,
    coco: bool = True,
) -> Evaluation:
    """Run a detector over a data set and judge it.

    Args:
        runner: What predicts.
        batches: All images of the index, each once, in any order.
        index: The images with their labels.
        confidence: Lowest score that counts. Above .001 the precision-recall curve is cut short and
            the figures are no longer comparable with published ones.
        iou: Suppression threshold.
        max_detections: Per image.
        single_class: Take every label and detection for one class, so judge the boxes only.
        coco: Compute COCO's twelve as well.

    Raises:
        DataError: Runner and data set do not have the same number of classes.
        ValueError: The batches do not hold each image of the index once.
    """
    if not single_class:
        _check_class_counts(runner, index)
    suppress = partial(
        non_maximum_suppression,
        confidence=confidence,
        iou=iou,
        max_detections=max_detections,
        multi_label=not single_class,  # with one class the best label of a box is all that can stay
        agnostic=single_class,
    )
    clock = _Clock()
    detections = _detect(runner, batches, index.paths, suppress, clock)
    if single_class:
        detections = [_as_one_class(found) for found in detections]
    labels = [_labels_of(index, number, single_class) for number in range(len(index))]
    with clock.measure("matching"):
        figures = _figures(detections, labels)
    names = (SINGLE_CLASS_NAME,) if single_class else index.names
    return Evaluation(
        precision=figures.mean_precision,
        recall=figures.mean_recall,
        map50=figures.map50,
        map50_95=figures.map50_95,
        confidence=figures.confidence,
        per_class=_per_class(figures, labels, names),
        coco=coco_metrics(detections, labels, _sizes(index), names) if coco else None,
        detections=tuple(detections),
        labels=sum(len(label.classes) for label in labels),
        timings_ms=clock.per_image(len(index)),
    )


def _check_class_counts(runner: Runner, index: "ImageIndex") -> None:
    if len(runner.names) != len(index.names):
        raise DataError(
            f"model has {len(runner.names)} classes ({_few(runner.names)}), data set has "
            f"{len(index.names)} ({_few(index.names)}). Use the data set that the model was "
            "trained for, train the model on this one, or judge the boxes alone with "
            "--single-class."
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _detect(
    runner: Runner,
    batches: Iterable[Batch],
    paths: Sequence[Path],
    suppress: Suppress,
    clock: "_Clock",
) -> list[Detections]:
    """Return the detections of every image, in the order of `paths`."""
    places: dict[Path, list[int]] = defaultdict(list)
    for number, path in enumerate(paths):
        places[path].append(number)
    found: dict[int, Detections] = {}
    total = len(batches) if isinstance(batches, Sized) else None
    for batch in clock.waiting(track(batches, "validating", total)):
        with clock.measure("inference"):
            candidates = _infer(runner, batch.images)
            if candidates.is_cuda:
                torch.cuda.synchronize(candidates.device)
        with clock.measure("nms"):
            kept = [rows.cpu() for rows in suppress(candidates)]
        for frame, rows in zip(batch.frames, kept, strict=True):
            if not places[frame.path]:
                raise ValueError(f"{frame.path}: in the batches more often than in the index")
            found[places[frame.path].pop()] = _in_image(frame, rows)
    if len(found) != len(paths):
        raise ValueError(f"the batches held {len(found)} of the index's {len(paths)} images")
    return [found[number] for number in range(len(paths))]


def _infer(runner: Runner, images: Tensor) -> Tensor:
    """Run a batch through a runner, in pieces if it takes only so many images at a time.

    The last piece is filled up with black images, whose output is dropped.
    """
    if runner.batch is None or runner.batch == len(images):
        return runner(images)
    outputs = []
    for start in range(0, len(images), runner.batch):
        piece = images[start : start + runner.batch]
        filling = piece.new_zeros((runner.batch - len(piece), *piece.shape[1:]))
        outputs.append(runner(torch.cat((piece, filling)))[: len(piece)])
    return torch.cat(outputs)


def _in_image(frame: Frame, rows: Tensor) -> Detections:
    values = rows.numpy()  # (n, 6)
    return Detections(frame.to_image(values[:, :4]), values[:, 4], values[:, 5].astype(np.int64))


def _as_one_class(found: Detections) -> Detections:
    return Detections(found.boxes_xyxy, found.scores, np.zeros_like(found.classes))


def _labels_of(index: "ImageIndex", number: int, single_class: bool) -> Labels:
    rows = index.boxes_of(number)  # (n, 5): class, centre and size as shares of the image
    height, width = index.sizes_hw[number]
    in_pixels = rows[:, 1:] * np.array([width, height, width, height], dtype=np.float32)
    boxes = xywh_to_xyxy(torch.from_numpy(in_pixels)).numpy()
    classes = rows[:, 0].astype(np.int64)
    return Labels(boxes, np.zeros_like(classes) if single_class else classes)


def _sizes(index: "ImageIndex") -> list[Size]:
    return [(int(height), int(width)) for height, width in index.sizes_hw]


def _figures(detections: Sequence[Detections], labels: Sequence[Labels]) -> AveragePrecision:
    hits = [
        match_detections(found.boxes_xyxy, found.classes, label.boxes_xyxy, label.classes)
        for found, label in zip(detections, labels, strict=True)
    ]
    return average_precision(
        np.concatenate([np.empty((0, len(IOU_THRESHOLDS)), dtype=np.bool_), *hits]),
        np.concatenate([np.empty(0, dtype=np.float32), *(found.scores for found in detections)]),
        np.concatenate([np.empty(0, dtype=np.int64), *(found.classes for found in detections)]),
        np.concatenate([np.empty(0, dtype=np.int64), *(label.classes for label in labels)]),
    )


def _per_class(
    figures: AveragePrecision, labels: Sequence[Labels], names: Sequence[str]
) -> tuple[ClassMetrics, ...]:
    image_counts = np.zeros(len(names), dtype=np.int64)
    for label in labels:
        image_counts[np.unique(label.classes)] += 1
    return tuple(
        ClassMetrics(
            name=names[class_],
            images=int(image_counts[class_]),
            labels=int(figures.label_counts[row]),
            precision=float(figures.precision[row]),
            recall=float(figures.recall[row]),
            map50=float(figures.average_precision[row, 0]),
            map50_95=float(figures.average_precision[row].mean()),
        )
        for row, class_ in enumerate(figures.classes)
    )


class _Clock:
    """Adds up the wall-clock seconds of each stage."""

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        start = perf_counter()
        yield
        self._seconds[stage] += perf_counter() - start

    def waiting(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items; the time that they take to come is `preprocess`."""
        iterator = iter(items)
        while True:
            with self.measure("preprocess"):
                item = next(iterator, None)
            if item is None:
                return
            yield item

    def per_image(self, images: int) -> dict[str, float]:
        return {stage: 1000 * total / max(images, 1) for stage, total in self._seconds.items()}
