"""Pictures of verbs: what a training sees, and what two models find in the same images."""

import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from prunus.core.boxes import xywh_to_xyxy
from prunus.core.records import Batch, Detections
from prunus.data.index import ImageIndex, build_index
from prunus.data.spec import read_data
from prunus.pipeline.load import load
from prunus.predict.draw import Picture, draw, side_by_side
from prunus.predict.save import write_picture
from prunus.report.training import plot_labels
from prunus.train.config import TrainConfig
from prunus.train.images import TrainingImages
from prunus.train.run import fitting_size

SHOWN_IMAGES = 3
SHOWN_BATCHES = 3
LARGEST_BATCH = 16
"""So many images of a batch are shown."""
BATCHES, LABELS = "batch{}.jpg", "labels.png"
TRAINING_PICTURES = (LABELS, *(BATCHES.format(number) for number in range(SHOWN_BATCHES)))
"""What `save_training_pictures` writes, as a rule: small data sets have fewer batches."""


def save_before_after(
    picture: Path, data: Path, image_size: int, models: tuple[Path, Path], captions: tuple[str, str]
) -> None:
    """Draw the detections of two models on images that neither was trained on.

    Args:
        picture: JPEG to write.
        data: Data set YAML; the images come from its test split, or else from validation.
        image_size: Side at which the models look, in pixels.
        models: Files that predict: before, after.
        captions: What stands over each column.
    """
    spec = read_data(data)
    paths = build_index(spec, "test" if "test" in spec.splits else "val").paths
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, SHOWN_IMAGES).round().astype(int)]
    before, after = (
        [found.plot() for found in load(model, device="cpu")(chosen, image_size=image_size)]
        for model in models
    )
    write_picture(picture, side_by_side(before, after, captions))


def save_training_pictures(
    folder: Path, settings: TrainConfig, training: ImageIndex, stride: int
) -> None:
    """Draw the first batches, as the network will get them with their boxes, and the labels.

    Args:
        folder: Where to.
        settings: Of the training.
        training: Its images.
        stride: Of the detector.
    """
    plot_labels(folder / LABELS, training.boxes, training.names)
    side = fitting_size(settings.image_size, stride)
    size = settings.batch_size if settings.batch_size > 0 else LARGEST_BATCH
    plain = settings.model_copy(update={"cache": "none", "workers": 0, "batch_size": size})
    batches = TrainingImages(training, plain, side, stride).epoch(0, 0)
    for number, batch in enumerate(islice(batches, SHOWN_BATCHES)):
        picture = mosaic_of(batch, training.names)
        write_picture(folder / BATCHES.format(number), picture)


def mosaic_of(batch: Batch, names: Sequence[str]) -> Picture:
    """Return up to LARGEST_BATCH of a batch's images with their boxes, side by side in a square."""
    shown = min(len(batch.images), LARGEST_BATCH)
    columns = math.ceil(math.sqrt(shown))
    height, width = batch.images.shape[2:]
    canvas = np.full((-(-shown // columns) * height, columns * width, 3), 255, dtype=np.uint8)
    for number in range(shown):
        image = batch.images[number].permute(1, 2, 0).numpy()
        rows = batch.targets[batch.targets[:, 0] == number]
        boxes = xywh_to_xyxy(rows[:, 2:] * torch.tensor([width, height, width, height])).numpy()
        labels = Detections(
            boxes, np.ones(len(rows), dtype=np.float32), rows[:, 1].numpy().astype(np.int64)
        )
        top, left = number // columns * height, number % columns * width
        drawn = draw(image, labels, names, with_scores=False)
        canvas[top : top + height, left : left + width] = drawn
    return canvas
