"""One training sample: which operations, in which order. All chance comes from one generator."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from prunus.core.records import Size
from prunus.data.augment import Augmentation
from prunus.data.augment.affine import vary
from prunus.data.augment.copy_paste import copy_paste
from prunus.data.augment.flip import flip_left_right, flip_up_down
from prunus.data.augment.hsv import vary_colours
from prunus.data.augment.mixup import mixup
from prunus.data.augment.mosaic import mosaic
from prunus.data.augment.sample import Sample, move_outlines
from prunus.data.letterbox import letterbox

Partners = Sequence[int] | NDArray[np.int64]
"""Image numbers, to be drawn from evenly."""
Load = Callable[[int], Sample]
"""Image number -> the picture with its long side at the image size."""

TILES = 4


def draw(
    load: Load,
    partners: Partners,
    first: int,
    shape_hw: Size,
    settings: Augmentation,
    rng: np.random.Generator,
) -> Sample:
    """Make one training sample around an image.

    Args:
        load: Gives any image of the data set.
        partners: The images that mosaics are completed with.
        first: The image that is certainly in it.
        shape_hw: What comes out, in pixels; square where there are mosaics.
        settings: How much to vary.
        rng: The source of all chance in it.
    """
    if rng.random() < settings.mosaic:
        sample = _mosaic(load, partners, first, shape_hw, settings, rng)
        if rng.random() < settings.mixup:
            second = int(partners[int(rng.integers(len(partners)))])
            other = _mosaic(load, partners, second, shape_hw, settings, rng)
            sample = mixup(sample, other, rng)
    else:
        sample = vary(_single(load(first), shape_hw), shape_hw, settings, rng)
    strength = (settings.hsv_h, settings.hsv_s, settings.hsv_v)
    sample = Sample(vary_colours(sample.image, strength, rng), sample.boxes)
    if rng.random() < settings.flipud:
        sample = flip_up_down(sample)
    if rng.random() < settings.fliplr:
        sample = flip_left_right(sample)
    return sample


def _mosaic(
    load: Load,
    partners: Partners,
    first: int,
    shape_hw: Size,
    settings: Augmentation,
    rng: np.random.Generator,
) -> Sample:
    """Join the image with three others, drawn with replacement, in any order."""
    drawn = rng.integers(len(partners), size=TILES - 1)
    images = [first, *(int(partners[place]) for place in drawn)]
    tiles = [load(images[place]) for place in rng.permutation(TILES)]
    joined = copy_paste(mosaic(tiles, max(shape_hw), rng), settings.copy_paste, rng)
    return vary(joined, shape_hw, settings, rng)


def _single(tile: Sample, shape_hw: Size) -> Sample:
    canvas, (scale_y, scale_x), (top, left) = letterbox(
        tile.image, max(shape_hw), shape_hw, scale_up=True
    )
    boxes = tile.boxes * np.array([1, scale_x, scale_y, scale_x, scale_y], dtype=np.float32)
    outlines = move_outlines(tile.outlines, (scale_x, scale_y), (left, top))
    return Sample(canvas, boxes + np.array([0, left, top, left, top], dtype=np.float32), outlines)
