"""Batches for validation (letterboxed) and for training (augmented), uint8 throughout.

Sample k of epoch n is a pure function of (seed, n, k): the number of workers, the batches before it
and the packages installed change nothing, and a resumed run skips by counting.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from prunus.core.records import Batch, Frame
from prunus.data.augment import Augmentation
from prunus.data.augment.draw import draw
from prunus.data.augment.sample import to_pixels, to_shares
from prunus.data.decode import load_image
from prunus.data.index import ImageIndex
from prunus.data.letterbox import letterbox, to_planes
from prunus.data.rectangles import Rectangle, rectangles, squares
from prunus.data.tiles import Tiles
from prunus.data.workers import Made, Stream

CACHE_BYTES = 1 << 30
ORDER = 0
"""Third word of the seed for an epoch's order; samples take 1 and up."""


class ValidationBatches:
    """The images of an index, each once, letterboxed. Iterate as often as wanted."""

    def __init__(
        self, index: ImageIndex, image_size: int, plan: tuple[Rectangle, ...], workers: int
    ) -> None:
        largest = max(
            (3 * len(item.images) * item.shape_hw[0] * item.shape_hw[1] for item in plan), default=0
        )
        self._stream = Stream(
            _Letterboxed(index, image_size, plan), workers, largest, keep_workers=False
        )
        self._count = len(plan)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Batch]:
        return self._stream.run(tuple(range(self._count)))


def validation_batches(
    index: ImageIndex,
    image_size: int,
    batch_size: int,
    stride: int,
    *,
    rectangular: bool = True,
    workers: int = 0,
) -> ValidationBatches:
    """Return letterboxed batches that hold every image once; `Frame.path` tells which.

    Args:
        index: The images.
        image_size: Long side in pixels.
        batch_size: Images a batch; the last may hold fewer.
        stride: The model's largest stride; canvas sides are multiples of it.
        rectangular: Order by height over width and share the smallest canvas in each batch; else
            index order, square.
        workers: Processes that decode ahead; 0 decodes here.

    Returns:
        A sized iterable. Iterating raises DataError when an image cannot be decoded.
    """
    if rectangular:
        plan = rectangles(index.sizes_hw, image_size, batch_size, stride)
    else:
        plan = squares(len(index), image_size, batch_size, stride)
    return ValidationBatches(index, image_size, plan, workers)


@dataclass(frozen=True)
class _Letterboxed:
    index: ImageIndex
    image_size: int
    plan: tuple[Rectangle, ...]

    def __call__(self, key: Hashable) -> Made:
        """Make batch number `key`."""
        rectangle = self.plan[cast(int, key)]
        height, width = rectangle.shape_hw
        planes = np.empty((len(rectangle.images), 3, height, width), dtype=np.uint8)
        frames, targets = [], []
        for place, image in enumerate(rectangle.images):
            path = self.index.paths[image]
            picture = load_image(path)
            canvas, scale_yx, pad_yx = letterbox(
                picture, self.image_size, (height, width), scale_up=False
            )
            to_planes(canvas, planes[place])
            frames.append(Frame(path, (picture.shape[0], picture.shape[1]), scale_yx, pad_yx))
            scale_xy = scale_yx[1] * picture.shape[1], scale_yx[0] * picture.shape[0]
            boxes = to_pixels(self.index.boxes_of(image), scale_xy, (pad_yx[1], pad_yx[0]))
            targets.append(to_shares(boxes, width, height))
        return Made(Batch(torch.from_numpy(planes), _number(targets), tuple(frames)))


class TrainingBatches:
    """Augmented square batches, shuffled anew each epoch; the last one may hold fewer images."""

    def __init__(
        self,
        index: ImageIndex,
        image_size: int,
        batch_size: int,
        augmentation: Augmentation,
        *,
        seed: int,
        workers: int = 0,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Prepare; nothing is decoded before the first epoch.

        Args:
            index: The images.
            image_size: Side of the batches in pixels.
            batch_size: Images a batch.
            augmentation: How much to vary.
            seed: 0 or more; with epoch and position it determines every sample.
            workers: Processes that work ahead; 0 works here.
            cache_bytes: When all decoded pictures fit into this, they are kept in memory; 0 never
                does.
        """
        self._tiles = Tiles(index, image_size)
        self._make = _Augmented(index, self._tiles, image_size, batch_size, augmentation, seed)
        batch_bytes = 3 * batch_size * image_size**2
        self._stream = Stream(self._make, workers, batch_bytes, keep_workers=True)
        self._workers, self._cache_bytes = workers, cache_bytes
        self._count = -(-len(index) // batch_size)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return self._count

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, from batch number `start` on.

        Frames name the image that each sample was drawn around; scale and pad mean nothing here.
        Images that cannot be decoded are logged and come out grey and without boxes.
        """
        if self._tiles.total_bytes() <= self._cache_bytes:
            self._tiles.keep_all(self._workers)
        return self._stream.run(tuple((number, batch) for batch in range(start, self._count)))


@dataclass(frozen=True)
class _Augmented:
    index: ImageIndex
    tiles: Tiles
    size: int
    batch_size: int
    augmentation: Augmentation
    seed: int

    def __call__(self, key: Hashable) -> Made:
        """Make the batch of a key (epoch, number of the batch)."""
        epoch, batch = cast(tuple[int, int], key)
        order = np.random.default_rng((self.seed, epoch, ORDER)).permutation(len(self.index))
        start = batch * self.batch_size
        images = [int(image) for image in order[start : start + self.batch_size]]
        planes = np.empty((len(images), 3, self.size, self.size), dtype=np.uint8)
        targets = []
        for place, image in enumerate(images):
            rng = np.random.default_rng((self.seed, epoch, ORDER + 1 + start + place))
            sample = draw(self.tiles, len(self.index), image, self.size, self.augmentation, rng)
            to_planes(sample.image, planes[place])
            targets.append(to_shares(sample.boxes, self.size, self.size))
        problems = tuple(self.tiles.problems)
        self.tiles.problems.clear()
        frames = tuple(self._frame(image) for image in images)
        return Made(Batch(torch.from_numpy(planes), _number(targets), frames), problems)

    def _frame(self, image: int) -> Frame:
        height, width = self.index.sizes_hw[image]
        return Frame(self.index.paths[image], (int(height), int(width)))


def _number(targets: Sequence[NDArray[np.float32]]) -> torch.Tensor:
    """Join the (n, 5) rows of B images into (T, 6), with the image's number in front."""
    numbers = np.repeat(np.arange(len(targets), dtype=np.float32), [len(rows) for rows in targets])
    return torch.from_numpy(np.hstack((numbers[:, None], np.concatenate(targets))))
