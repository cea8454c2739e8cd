"""Runner + labelled images -> `Evaluation`: YOLOv5's and COCO's figures of the same detections.

Anything that predicts can be judged, since it only has to be a `core.records.Runner`. Detections
are carried back to pixels of the image on disk, clipped to it, and compared there with the labels
(`spec/yolov5.md` 2.7, 2.11). The timings are a by-product: no result depends on them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence, Sized
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from prunus.core.console import log, track
from prunus.core.distributed import ALONE, Processes
from prunus.core.errors import DataError
from prunus.core.records import Batch, Detections, Frame, Runner, Size
from prunus.evaluate.average_precision import AveragePrecision, average_precision
from prunus.evaluate.clock import Clock
from prunus.evaluate.coco import coco_metrics
from prunus.evaluate.evaluation import ClassMetrics, Evaluation
from prunus.evaluate.match import match_images
from prunus.evaluate.nms import non_maximum_suppression
from prunus.evaluate.truth import Labels, names_of, truth_of
from prunus.model.pieces import run_in_pieces

if TYPE_CHECKING:
    from prunus.data.index import ImageIndex

__all__ = ["ClassMetrics", "Evaluation", "evaluate"]

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
    processes: Processes = ALONE,
) -> Evaluation:
    """Run a detector over a data set and judge it.

    Args:
        runner: What predicts.
        batches: All images of the index, each once, in any order; or this process's share of them.
        index: The images with their labels.
        confidence: Lowest score that counts. Above .001 the precision-recall curve is cut short and
            the figures are no longer comparable with published ones.
        iou: Suppression threshold.
        max_detections: Per image.
        single_class: Take every label and detection for one class, so judge the boxes only.
        coco: Compute COCO's twelve as well.
        processes: Who runs the other batches, where each has its share; all get the same figures.

    Raises:
        DataError: Runner and data set do not have the same number of classes.
        ValueError: The batches do not hold each image of the index once.
    """
    if not single_class:
        _check_class_counts(runner, index)
        _warn_of_other_names(runner, index)
    suppress = partial(
        non_maximum_suppression,
        confidence=confidence,
        iou=iou,
        max_detections=max_detections,
        multi_label=not single_class,  # with one class the best label of a box is all that can stay
        agnostic=single_class,
    )
    clock = Clock()
    found = chain.from_iterable(processes.gather(_detect(runner, batches, suppress, clock)))
    detections = _in_order(found, index.paths)
    if single_class:
        detections = [_as_one_class(found) for found in detections]
    names = names_of(index, single_class=single_class)
    labels = truth_of(index, single_class=single_class)
    with clock.measure("matching"):
        matches = match_images(detections, labels)
        figures = average_precision(
            matches.hits, matches.scores, matches.classes, matches.label_classes
        )
    with clock.measure("coco"):
        twelve = coco_metrics(detections, labels, _sizes(index), names) if coco else None
    return Evaluation(
        precision=figures.mean_precision,
        recall=figures.mean_recall,
        map50=figures.map50,
        map50_95=figures.map50_95,
        confidence=figures.confidence,
        per_class=_per_class(figures, labels, names),
        coco=twelve,
        detections=tuple(detections),
        labels=sum(len(label.classes) for label in labels),
        timings_ms=clock.per_image(len(index)),
        truth=labels,
        names=names,
        figures=figures,
        matches=matches,
    )


def _check_class_counts(runner: Runner, index: "ImageIndex") -> None:
    if len(runner.names) != len(index.names):
        raise DataError(
            f"model has {len(runner.names)} classes ({_few(runner.names)}), data set has "
            f"{len(index.names)} ({_few(index.names)}). Use the data set that the model was "
            "trained for, train the model on this one, or judge the boxes alone with "
            "--single-class."
        )


def _warn_of_other_names(runner: Runner, index: "ImageIndex") -> None:
    """Log the first class that is called otherwise: the order may differ, or just the words."""
    pairs = enumerate(zip(runner.names, index.names, strict=True))
    differing = [(number, *pair) for number, pair in pairs if pair[0] != pair[1]]
    if differing:
        log.warning(
            "class %d is '%s' to the model and '%s' in the data set; %d of %d names differ. "
            "Classes are matched by their number.",
            *differing[0],
            len(differing),
            len(index.names),
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _detect(
    runner: Runner,
    batches: Iterable[Batch],
    suppress: Suppress,
    clock: Clock,
) -> list[tuple[Path, Detections]]:
    """Return the detections of every image of the batches."""
    found = []
    total = len(batches) if isinstance(batches, Sized) else None
    for batch in clock.waiting(track(batches, "validating", total)):
        with clock.measure("inference"):
            candidates = run_in_pieces(runner, batch.images)
            if candidates.is_cuda:
                torch.cuda.synchronize(candidates.device)
        with clock.measure("nms"):
            kept = [rows.cpu() for rows in suppress(candidates)]
        del candidates  # 300 MB at 640 pixels, which the next batch can have
        for frame, rows in zip(batch.frames, kept, strict=True):
            found.append((frame.path, _in_image(frame, rows)))
    return found


def _in_order(found: Iterable[tuple[Path, Detections]], paths: Sequence[Path]) -> list[Detections]:
    """Return the detections of every image, in the order of `paths`."""
    places: dict[Path, list[int]] = defaultdict(list)
    for number, path in enumerate(paths):
        places[path].append(number)
    placed: dict[int, Detections] = {}
    for path, detections in found:
        if not places[path]:
            raise ValueError(f"{path}: in the batches more often than in the index")
        placed[places[path].pop()] = detections
    if len(placed) != len(paths):
        raise ValueError(f"the batches held {len(placed)} of the index's {len(paths)} images")
    return [placed[number] for number in range(len(paths))]


def _in_image(frame: Frame, rows: Tensor) -> Detections:
    values = rows.numpy()  # (n, 6)
    return Detections(frame.to_image(values[:, :4]), values[:, 4], values[:, 5].astype(np.int64))


def _as_one_class(found: Detections) -> Detections:
    return Detections(found.boxes_xyxy, found.scores, np.zeros_like(found.classes))


def _sizes(index: "ImageIndex") -> list[Size]:
    return [(int(height), int(width)) for height, width in index.sizes_hw]


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
