"""One training sample: which operations, in which order. All chance comes from one generator."""

from collections.abc import Callable

import numpy as np

from prunus.data.augment import Augmentation
from prunus.data.augment.affine import vary
from prunus.data.augment.flip import flip_left_right, flip_up_down
from prunus.data.augment.hsv import vary_colours
from prunus.data.augment.mixup import mixup
from prunus.data.augment.mosaic import mosaic
from prunus.data.augment.sample import Sample
from prunus.data.letterbox import letterbox

Load = Callable[[int], Sample]
"""Image number -> the picture with its long side at the image size."""

TILES = 4


def draw(
    load: Load, count: int, first: int, size: int, settings: Augmentation, rng: np.random.Generator
) -> Sample:
    """Make one (size, size) training sample around an image.

    Args:
        load: Gives any image of the data set.
        count: Images in the data set.
        first: The image that is certainly in it.
        size: Side in pixels.
        settings: How much to vary.
        rng: The source of all chance in it.
    """
    if rng.random() < settings.mosaic:
        sample = _mosaic(load, count, first, size, settings, rng)
        if rng.random() < settings.mixup:
            other = _mosaic(load, count, int(rng.integers(count)), size, settings, rng)
            sample = mixup(sample, other, rng)
    else:
        sample = vary(_single(load(first), size), size, settings, rng)
    strength = (settings.hsv_h, settings.hsv_s, settings.hsv_v)
    sample = Sample(vary_colours(sample.image, strength, rng), sample.boxes)
    if rng.random() < settings.flipud:
        sample = flip_up_down(sample)
    if rng.random() < settings.fliplr:
        sample = flip_left_right(sample)
    return sample


def _mosaic(
    load: Load, count: int, first: int, size: int, settings: Augmentation, rng: np.random.Generator
) -> Sample:
    """Join the image with three others, drawn with replacement, in any order."""
    images = [first, *(int(image) for image in rng.integers(count, size=TILES - 1))]
    tiles = [load(images[place]) for place in rng.permutation(TILES)]
    return vary(mosaic(tiles, size, rng), size, settings, rng)


def _single(tile: Sample, size: int) -> Sample:
    canvas, (scale_y, scale_x), (top, left) = letterbox(
        tile.image, size, (size, size), scale_up=True
    )
    boxes = tile.boxes * np.array([1, scale_x, scale_y, scale_x, scale_y], dtype=np.float32)
    return Sample(canvas, boxes + np.array([0, left, top, left, top], dtype=np.float32))
