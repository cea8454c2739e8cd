"""Which objects one model finds and the other loses, image by image, from two runs of `val`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from prunus.core.boxes import pairwise_iou
from prunus.core.errors import PrunusError
from prunus.core.records import Detections
from prunus.data.coco_ids import coco_ids
from prunus.data.image_index import ImageIndex
from prunus.data.index import build_index
from prunus.data.spec import read_data
from prunus.evaluate.compare import PREDICTIONS
from prunus.evaluate.confusion import CONFIDENCE
from prunus.evaluate.match import match_detections
from prunus.evaluate.predictions import from_json
from prunus.evaluate.truth import Labels, fingerprint, names_of, truth_of
from prunus.report.blocks import MissingError
from prunus.report.sources import Source, read_text
from prunus.report.values import record

FOUND_AT = 0
"""Place of IoU .5 among `match.IOU_THRESHOLDS`."""
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Findings:
    """What a model made of an image, above `CONFIDENCE`.

    Attributes:
        detections: N boxes.
        hits: (N,) whether each hits a label.
        found: (M,) whether each label is hit.
    """

    detections: Detections
    hits: Flags
    found: Flags


@dataclass(frozen=True)
class Regression:
    """One image, and two models.

    Attributes:
        path: The image.
        size_hw: Its pixels.
        names: Of the classes.
        labels: What is on it.
        before: What the first model found.
        after: What the second one did.
    """

    path: Path
    size_hw: tuple[int, int]
    names: Sequence[str]
    labels: Labels
    before: Findings
    after: Findings

    @property
    def lost(self) -> Flags:
        """(M,) labels that only the first one found."""
        return self.before.found & ~self.after.found

    @property
    def gained(self) -> Flags:
        """(M,) labels that only the second one found."""
        return self.after.found & ~self.before.found

    @property
    def badness(self) -> tuple[int, int, int]:
        """Return objects lost, objects lost for good, and further false findings."""
        lost, gained = int(self.lost.sum()), int(self.gained.sum())
        false = int((~self.after.hits).sum()) - int((~self.before.hits).sum())
        return lost, lost - gained, false


def worst(before: Source, after: Source, count: int) -> tuple[list[Regression], int]:
    """Return the images on which the second model lost most, and how many images there are.

    Args:
        before: Folder of the first model's `prunus val`.
        after: Of the second one's, on the same images.
        count: How many.

    Raises:
        MissingError: The runs do not fit together, or the data set is not here any more.
    """
    index = _index(after)
    single = bool(after.settings.get("single_class"))
    truth = truth_of(index, single_class=single)
    names = names_of(index, single_class=single)
    expected = fingerprint(index.paths, truth, names)
    for run in (before, after):
        known = record(run.report.get("data")).get("sha256")
        if known is not None and known != expected:
            raise MissingError(f"images or labels have changed since {run.name} was judged.")
    sides = [_predictions(run, index) for run in (before, after)]
    every = [
        Regression(
            path,
            (int(size[0]), int(size[1])),
            names,
            labels,
            findings(first, labels),
            findings(second, labels),
        )
        for path, size, labels, first, second in zip(
            index.paths, index.sizes_hw, truth, *sides, strict=True
        )
    ]
    return sorted(every, key=lambda one: one.badness, reverse=True)[:count], len(every)


def findings(detections: Detections, labels: Labels) -> Findings:
    """Return what is found above `CONFIDENCE`, matched as for mAP50."""
    likely = np.flatnonzero(detections.scores > CONFIDENCE)
    likely = likely[np.argsort(-detections.scores[likely], kind="stable")]
    boxes, classes = detections.boxes_xyxy[likely], detections.classes[likely]
    hits = match_detections(boxes, classes, labels.boxes_xyxy, labels.classes)[:, FOUND_AT]
    found = np.zeros(len(labels.classes), dtype=np.bool_)
    if hits.any():
        iou = pairwise_iou(
            torch.from_numpy(boxes[hits]), torch.from_numpy(labels.boxes_xyxy)
        ).numpy()
        found[np.where(classes[hits][:, None] == labels.classes, iou, 0).argmax(axis=1)] = True
    return Findings(Detections(boxes, detections.scores[likely], classes), hits, found)


def _index(run: Source) -> ImageIndex:
    data, split = _data(run)
    try:
        return build_index(read_data(data), split)
    except (PrunusError, OSError, ValueError) as error:
        raise MissingError(f"the data set cannot be read: {error}") from error


def _data(run: Source) -> tuple[Path, str]:
    """Return the data set that was judged, and the split."""
    data, split = run.settings.get("data"), run.settings.get("task") or run.settings.get("split")
    if not isinstance(data, str) or not isinstance(split, str) or "\0" in data:
        raise MissingError(f"{run.name} does not say which images it judged.")
    if not Path(data).is_file():
        raise MissingError(f"the data set {data} is not here.")
    return Path(data), split


def _predictions(run: Source, index: ImageIndex) -> list[Detections]:
    path = run.folder / PREDICTIONS
    content = read_text(path)
    if content is None:
        raise MissingError(
            f"{run.name} has no {PREDICTIONS}: prunus val writes it with --save-json."
        )
    try:
        ids = None
        if record(run.report.get("data")).get("coco_ids"):
            data, split = _data(run)
            ids = coco_ids(read_data(data), split, index.paths)
        return from_json(content, index.paths, str(path), ids)
    except (PrunusError, OSError, ValueError) as error:
        raise MissingError(f"{run.name}: {error}") from error
