"""The training images of each epoch, as the settings want them varied."""

from collections.abc import Iterable
from dataclasses import replace

from prunus.core.console import log
from prunus.core.records import Batch
from prunus.data.augment import Augmentation
from prunus.data.index import ImageIndex
from prunus.data.loader import TrainingBatches
from prunus.train.config import Hyperparameters, TrainConfig


class TrainingImages:
    """The training images, with mosaics until the last epochs."""

    def __init__(self, index: ImageIndex, settings: TrainConfig, image_size: int) -> None:
        self._index, self._settings, self._image_size = index, settings, image_size
        self._augmentation = _augmentation(settings.hyp)
        self._batches = self._make()

    def __len__(self) -> int:
        return len(self._batches)

    def epoch(self, number: int, start: int) -> Iterable[Batch]:
        """Yield the batches of an epoch from batch `start` on."""
        settings = self._settings
        if self._augmentation.mosaic > 0 and number >= settings.epochs - settings.close_mosaic:
            log.info("epoch %d: no mosaics from here on", number + 1)
            self._augmentation = replace(self._augmentation, mosaic=0.0)
            self._batches = self._make()
        return self._batches.epoch(number, start)

    def _make(self) -> TrainingBatches:
        return TrainingBatches(
            self._index,
            self._image_size,
            self._settings.batch_size,
            self._augmentation,
            seed=self._settings.seed,
            workers=self._settings.workers,
        )


def _augmentation(hyp: Hyperparameters) -> Augmentation:
    if hyp.copy_paste > 0:
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
    )
