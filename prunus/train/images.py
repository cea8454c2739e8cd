"""The training images of each epoch, as the settings want them chosen, kept and varied."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from prunus.core.cache import cache_folder
from prunus.core.console import log
from prunus.core.distributed import ALONE, Processes
from prunus.core.records import Batch
from prunus.data.augment import Augmentation
from prunus.data.index import ImageIndex
from prunus.data.loader import TrainingBatches
from prunus.data.sampling import (
    ByNeed,
    ClassScores,
    InRectangles,
    Repeated,
    Sampling,
    repeat_factors,
    shape_groups,
)
from prunus.data.tiles import Cache, Tiles
from prunus.train.config import TrainConfig
from prunus.train.hyperparameters import Hyperparameters

ONE_CLASS = "item"
"""The name of all classes together, as the original has it."""


class TrainingImages:
    """The training images, with mosaics until the last epochs."""

    def __init__(
        self,
        index: ImageIndex,
        settings: TrainConfig,
        image_size: int,
        stride: int,
        processes: Processes = ALONE,
    ) -> None:
        """Prepare; nothing is decoded before the first epoch.

        Args:
            index: The images.
            settings: How they are chosen and varied.
            image_size: Side of the batches, in pixels.
            stride: The detector's largest, in pixels.
            processes: Each gets its share of every batch.
        """
        self._settings, self._processes = settings, processes
        self._tiles = Tiles(index, image_size, _cache(settings))
        self._sampling = _sampling(index, settings, stride)
        self._augmentation = _augmentation(settings.hyp, outlined=index.polygons is not None)
        self._batches = self._make()

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self._batches)

    def epoch(self, number: int, start: int, scores: ClassScores = ()) -> Iterable[Batch]:
        """Yield the batches of an epoch from batch `start` on.

        Args:
            number: The epoch, from 0.
            start: The batch to begin with, from 0.
            scores: mAP50-95 of each class at the last validation, for `--image-weights`.
        """
        settings = self._settings
        if self._augmentation.mosaic > 0 and number >= settings.epochs - settings.closed_epochs:
            log.info("epoch %d: no mosaics from here on", number + 1)
            self._augmentation = replace(self._augmentation, mosaic=0.0)
            self._batches = self._make()
        return self._batches.epoch(number, start, scores if settings.image_weights else ())

    def _make(self) -> TrainingBatches:
        return TrainingBatches(
            self._tiles,
            self._settings.batch_size,
            self._augmentation,
            seed=self._settings.seed,
            workers=self._settings.workers,
            sampling=self._sampling,
            processes=self._processes,
        )


def as_one_class(index: ImageIndex) -> ImageIndex:
    """Return the same boxes without their classes (`--single-cls`)."""
    boxes = index.boxes.copy()
    boxes[:, 0] = 0
    names = index.names if len(index.names) == 1 else (ONE_CLASS,)
    return replace(index, names=names, boxes=boxes)


def _sampling(index: ImageIndex, settings: TrainConfig, stride: int) -> Sampling | None:
    seed = settings.seed
    if settings.image_weights:
        return ByNeed(index, seed)
    if settings.repeat_factor is not None:
        factors = repeat_factors(index, settings.repeat_factor)
        repeated = Repeated(factors, seed)
        log.info(
            "repeat factors: %d images come more than once, at most %.1f times; %d an epoch",
            int((np.array(factors) > 1).sum()),
            max(factors),
            repeated.length,
        )
        return repeated
    if settings.rect:
        return InRectangles(shape_groups(index.sizes_hw, settings.batch_size), stride, seed)
    return None


def _cache(settings: TrainConfig) -> Cache:
    amount = 0 if settings.cache == "none" else int(settings.cache_gb * 1e9)
    folder: Path | None = None
    if settings.cache == "disk":
        folder = settings.cache_dir or cache_folder()
    return Cache(amount, folder)


def _augmentation(hyp: Hyperparameters, *, outlined: bool) -> Augmentation:
    if hyp.copy_paste > 0 and not outlined:
        log.warning("copy_paste: not done, it needs masks and the labels are boxes")
    return Augmentation(
        mosaic=hyp.mosaic,
        degrees=hyp.degrees,
        translate=hyp.translate,
        scale=hyp.scale,
        shear=hyp.shear,
        perspective=hyp.perspective,
        hsv_h=hyp.hsv_h,
        hsv_s=hyp.hsv_s,
        hsv_v=hyp.hsv_v,
        fliplr=hyp.fliplr,
        flipud=hyp.flipud,
        mixup=hyp.mixup,
        copy_paste=hyp.copy_paste,
    )
