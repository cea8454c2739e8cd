"""Batches for validation (letterboxed) and for training (augmented), uint8 throughout.

Sample k of epoch n is a pure function of (seed, n, k), and with `sampling.ByNeed` of the last
validation's figures: the number of workers, the batches before it and the packages installed change
nothing, and a resumed run skips by counting.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from prunus.core.distributed import ALONE, Processes
from prunus.core.errors import DataError
from prunus.core.records import Batch, Frame, Size
from prunus.data.augment import Augmentation
from prunus.data.augment.draw import draw
from prunus.data.augment.sample import to_pixels, to_shares
from prunus.data.decode import Pixels, load_image
from prunus.data.index import ImageIndex
from prunus.data.letterbox import GREY, letterbox, to_planes
from prunus.data.rectangles import Rectangle, rectangles, squares
from prunus.data.sampling import ORDER, ClassScores, Order, Sampling, Shuffled, shared_canvas
from prunus.data.tiles import Tiles
from prunus.data.workers import Made, Stream

NAMED_IMAGES = 3


class ValidationBatches:
    """The images of an index, each once, letterboxed. Iterate as often as wanted."""

    def __init__(
        self,
        index: ImageIndex,
        image_size: int,
        plan: tuple[Rectangle, ...],
        workers: int,
        *,
        strict: bool = True,
    ) -> None:
        largest = max(
            (3 * len(item.images) * item.shape_hw[0] * item.shape_hw[1] for item in plan), default=0
        )
        self._stream = Stream(
            _Letterboxed(index, image_size, plan, strict), workers, largest, keep_workers=False
        )
        self._count = len(plan)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Batch]:
        return self._stream.run(tuple(range(self._count)))


def validation_batches(  # noqa: PLR0913 - the four options are separate things
    index: ImageIndex,
    image_size: int,
    batch_size: int,
    stride: int,
    *,
    rectangular: bool = True,
    workers: int = 0,
    processes: Processes = ALONE,
    strict: bool = True,
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
        processes: Each gets its share of the batches, which may be none.
        strict: Whether an image that cannot be decoded is an error; else it is logged, and comes
            out grey with its boxes.

    Returns:
        A sized iterable. When strict, iterating raises DataError when an image cannot be decoded.
    """
    if rectangular:
        plan = rectangles(index.sizes_hw, image_size, batch_size, stride)
    else:
        plan = squares(len(index), image_size, batch_size, stride)
    plan = plan[processes.rank :: processes.count]
    return ValidationBatches(index, image_size, plan, workers, strict=strict)


@dataclass(frozen=True)
class _Letterboxed:
    index: ImageIndex
    image_size: int
    plan: tuple[Rectangle, ...]
    strict: bool = True

    def __call__(self, key: Hashable) -> Made:
        """Make batch number `key`."""
        rectangle = self.plan[cast(int, key)]
        height, width = rectangle.shape_hw
        planes = np.empty((len(rectangle.images), 3, height, width), dtype=np.uint8)
        frames, targets = [], []
        problems: list[str] = []
        for place, image in enumerate(rectangle.images):
            path = self.index.paths[image]
            picture = self._picture(image, problems)
            canvas, scale_yx, pad_yx = letterbox(
                picture, self.image_size, (height, width), scale_up=False
            )
            to_planes(canvas, planes[place])
            frames.append(Frame(path, (picture.shape[0], picture.shape[1]), scale_yx, pad_yx))
            scale_xy = scale_yx[1] * picture.shape[1], scale_yx[0] * picture.shape[0]
            boxes = to_pixels(self.index.boxes_of(image), scale_xy, (pad_yx[1], pad_yx[0]))
            targets.append(to_shares(boxes, width, height))
        batch = Batch(torch.from_numpy(planes), _number(targets), tuple(frames))
        return Made(batch, tuple(problems))

    def _picture(self, image: int, problems: list[str]) -> Pixels:
        try:
            return load_image(self.index.paths[image])
        except DataError as error:
            if self.strict:
                raise
            problems.append(f"{error} Until then its objects count as missed.")
            height, width = self.index.sizes_hw[image]
            return np.full((height, width, 3), GREY, dtype=np.uint8)

    def names(self, key: Hashable) -> str:
        """Name a batch and its first images, for messages."""
        images = self.plan[cast(int, key)].images
        return f"batch {cast(int, key) + 1} ({_few([self.index.paths[i] for i in images])})"


class TrainingBatches:
    """Augmented batches, in a new order each epoch; the last one may hold fewer images."""

    def __init__(
        self,
        tiles: Tiles,
        batch_size: int,
        augmentation: Augmentation,
        *,
        seed: int,
        workers: int = 0,
        sampling: Sampling | None = None,
        processes: Processes = ALONE,
    ) -> None:
        """Prepare; nothing is decoded before the first epoch.

        Args:
            tiles: The images, at the side that the batches will have.
            batch_size: Images a batch.
            augmentation: How much to vary.
            seed: 0 or more; with epoch and position it determines every sample.
            workers: Processes that work ahead; 0 works here.
            sampling: Which image comes where; None: each once, shuffled. Rectangles know no
                mosaics.
            processes: Each gets its share of every batch.
        """
        sampling = sampling or Shuffled(len(tiles.index), seed)
        if sampling.stride:
            augmentation = replace(augmentation, mosaic=0.0)
        self._tiles, self._workers = tiles, workers
        make = _Augmented(tiles, batch_size, augmentation, seed, sampling, processes)
        self._stream = Stream(make, workers, 3 * batch_size * tiles.size**2, keep_workers=True)
        self._count = -(-sampling.length // batch_size)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return self._count

    def epoch(self, number: int, start: int = 0, scores: ClassScores = ()) -> Iterator[Batch]:
        """Yield the batches of an epoch, from batch number `start` on.

        Frames name the image that each sample was drawn around; scale and pad mean nothing here.
        Images that cannot be decoded are logged and come out grey and without boxes.

        Args:
            number: The epoch, from 0.
            start: The batch to begin with, from 0.
            scores: mAP50-95 of each class so far, for a sampling that asks for it.
        """
        self._tiles.keep(self._workers)
        keys = tuple(_Key(number, batch, scores) for batch in range(start, self._count))
        return self._stream.run(keys)


class _Key(NamedTuple):
    epoch: int
    batch: int
    scores: ClassScores


@dataclass
class _Augmented:
    tiles: Tiles
    batch_size: int
    augmentation: Augmentation
    seed: int
    sampling: Sampling
    processes: Processes

    def __post_init__(self) -> None:
        self._order: tuple[int, ClassScores, Order] | None = None

    def __call__(self, key: Hashable) -> Made:
        """Make the batch of a `_Key`."""
        epoch, batch, scores = cast(_Key, key)
        order = self._order_of(epoch, scores)
        index = self.tiles.index
        start = batch * self.batch_size
        images = order[start : start + self.batch_size]
        height, width = self._shape(images)
        partners = range(len(index)) if self.sampling.even else order
        places = self.processes.share(range(len(images)))
        planes = np.empty((len(places), 3, height, width), dtype=np.uint8)
        targets = []
        for number, place in enumerate(places):
            rng = np.random.default_rng((self.seed, epoch, ORDER + 1 + start + place))
            shape = (height, width)
            image = int(images[place])
            sample = draw(self.tiles, partners, image, shape, self.augmentation, rng)
            to_planes(sample.image, planes[number])
            targets.append(to_shares(sample.boxes, width, height))
        problems = tuple(self.tiles.problems)
        self.tiles.problems.clear()
        frames = tuple(self._frame(int(images[place])) for place in places)
        part = Batch(torch.from_numpy(planes), _number(targets), frames, len(images))
        return Made(part, problems)

    def names(self, key: Hashable) -> str:
        """Name a batch and its first images, for messages."""
        epoch, batch, scores = cast(_Key, key)
        start = batch * self.batch_size
        images = self._order_of(epoch, scores)[start : start + self.batch_size]
        few = _few([self.tiles.index.paths[int(image)] for image in images])
        return f"epoch {epoch + 1}, batch {batch + 1} ({few})"

    def _order_of(self, epoch: int, scores: ClassScores) -> Order:
        if self._order is None or self._order[:2] != (epoch, scores):
            self._order = epoch, scores, self.sampling.order(epoch, scores)
        return self._order[2]

    def _shape(self, images: Order) -> Size:
        size, stride = self.tiles.size, self.sampling.stride
        if not stride:
            return size, size
        return shared_canvas(self.tiles.index.sizes_hw[images], size, stride)

    def _frame(self, image: int) -> Frame:
        height, width = self.tiles.index.sizes_hw[image]
        return Frame(self.tiles.index.paths[image], (int(height), int(width)))


def _few(paths: Sequence[Path]) -> str:
    shown = ", ".join(map(str, paths[:NAMED_IMAGES]))
    more = len(paths) - NAMED_IMAGES
    return f"{shown} and {more} more" if more > 0 else shown


def _number(targets: Sequence[NDArray[np.float32]]) -> torch.Tensor:
    """Join the (n, 5) rows of B images into (T, 6), with the image's number in front."""
    numbers = np.repeat(np.arange(len(targets), dtype=np.float32), [len(rows) for rows in targets])
    return torch.from_numpy(np.hstack((numbers[:, None], np.concatenate(targets))))
