import logging
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from prunus.core.errors import DataError
from prunus.core.records import Batch
from prunus.data import workers
from prunus.data.augment import NO_AUGMENTATION, Augmentation
from prunus.data.index import ImageIndex, build_index
from prunus.data.letterbox import GREY
from prunus.data.loader import TrainingBatches, validation_batches
from prunus.data.spec import read_data
from prunus.data.tiles import Cache, Tiles
from prunus.data.workers import affordable

Writer = Callable[..., Path]
SIZE = 64


@pytest.fixture
def index(yolo_set: Writer) -> ImageIndex:
    labels = {f"{n}": f"{n % 3} .5 .5 .5 .5\n{n % 3} .2 .3 .2 .2" for n in range(7)}
    return build_index(read_data(yolo_set(labels)), "train")


def equal(batches: Iterator[Batch], others: Iterator[Batch]) -> bool:
    pairs = list(zip(batches, others, strict=True))
    return all(
        one.images.equal(other.images)
        and one.targets.equal(other.targets)
        and one.frames == other.frames
        for one, other in pairs
    )


def training(index: ImageIndex, **changes: object) -> TrainingBatches:
    options = {"seed": 0, "augmentation": Augmentation(mixup=0.3, degrees=5), **changes}
    tiles = Tiles(index, SIZE, Cache(options.pop("cache_bytes", 1 << 30)))  # type: ignore[arg-type]
    return TrainingBatches(tiles, 3, **options)  # type: ignore[arg-type]


def test_training_batches_are_square_numbered_and_complete(index: ImageIndex) -> None:
    batches = training(index)
    epoch = list(batches.epoch(0))
    assert len(batches) == len(epoch) == 3
    assert [tuple(batch.images.shape) for batch in epoch] == [(n, 3, SIZE, SIZE) for n in (3, 3, 1)]
    for batch in epoch:
        assert batch.images.dtype == torch.uint8
        assert batch.targets.dtype == torch.float32
        assert set(batch.targets[:, 0].tolist()) <= set(range(len(batch.frames)))
        assert ((batch.targets[:, 2:] >= 0) & (batch.targets[:, 2:] <= 1)).all()
    paths = [frame.path for batch in epoch for frame in batch.frames]
    assert sorted(paths) == sorted(index.paths), "every image comes once an epoch"


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_the_number_of_workers_and_the_cache_change_nothing(
    index: ImageIndex, count: int, cache_bytes: int
) -> None:
    here, there = (
        training(index, cache_bytes=0),
        training(index, workers=count, cache_bytes=cache_bytes),
    )
    for epoch in (0, 1):
        assert equal(here.epoch(epoch), there.epoch(epoch))


def test_an_epoch_can_be_left_and_another_begun(index: ImageIndex) -> None:
    batches = training(index, workers=2)
    next(batches.epoch(0))
    assert equal(batches.epoch(5), training(index).epoch(5))


def test_a_resumed_epoch_continues_where_it_stopped(index: ImageIndex) -> None:
    batches = training(index)
    whole = list(batches.epoch(2))
    assert equal(batches.epoch(2, start=1), iter(whole[1:]))


def test_seed_and_epoch_change_order_and_augmentation(index: ImageIndex) -> None:
    def order(batches: Iterator[Batch]) -> list[Path]:
        return [frame.path for batch in batches for frame in batch.frames]

    assert equal(training(index).epoch(0), training(index).epoch(0))
    first = order(training(index).epoch(0))
    assert first != order(training(index).epoch(1))
    assert first != order(training(index, seed=1).epoch(0))
    same_image = [
        next(batch.images[place] for batch in training(index, seed=seed).epoch(0)
             for place, frame in enumerate(batch.frames) if frame.path == index.paths[0])
        for seed in (0, 1)
    ]  # fmt: skip
    assert not same_image[0].equal(same_image[1])


def test_a_sample_depends_on_its_place_not_on_its_batch(index: ImageIndex) -> None:
    options = {"augmentation": Augmentation(), "seed": 4}
    tiles = Tiles(index, SIZE)
    small = [batch.images for batch in TrainingBatches(tiles, 2, **options).epoch(1)]
    (large,) = TrainingBatches(tiles, 7, **options).epoch(1)
    assert torch.cat(small).equal(large.images)


def test_one_image_is_varied_anew_each_epoch(yolo_set: Writer) -> None:
    index = build_index(read_data(yolo_set({"a": "0 .5 .5 .5 .5"})), "train")
    batches = training(index)
    first, second = next(batches.epoch(0)), next(batches.epoch(1))
    assert not first.images.equal(second.images)


def test_nothing_is_drawn_from_the_global_generators(index: ImageIndex) -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - what is tested
    list(training(index, workers=1).epoch(0))
    list(validation_batches(index, SIZE, 2, 32, workers=1))
    assert torch.get_rng_state().equal(states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002


def test_without_augmentation_training_shows_what_validation_shows(index: ImageIndex) -> None:
    shown = {
        frame.path: (image, batch.targets[batch.targets[:, 0] == place, 1:])
        for batch in validation_batches(index, SIZE, 2, 32, rectangular=False)
        for place, (frame, image) in enumerate(zip(batch.frames, batch.images, strict=True))
    }
    for batch in training(index, augmentation=NO_AUGMENTATION).epoch(0):
        for place, frame in enumerate(batch.frames):
            image, targets = shown[frame.path]
            assert image.equal(batch.images[place])
            mine = batch.targets[batch.targets[:, 0] == place, 1:]
            torch.testing.assert_close(mine, targets)


@pytest.mark.parametrize("rectangular", [True, False])
def test_validation_targets_lead_back_to_the_boxes_on_disk(
    yolo_set: Writer, rectangular: bool
) -> None:
    spec = read_data(yolo_set({"a": "1 .5 .4 .3 .2", "b": ""}, size_hw=(37, 91)))
    index = build_index(spec, "val")
    batches = validation_batches(index, 96, 2, 32, rectangular=rectangular)
    assert len(batches) == 1
    (batch,) = batches
    assert batch.images.shape[2:] == ((64, 128) if rectangular else (96, 96))
    assert batch.targets.shape == (1, 6)
    place, kind, x, y, width, height = batch.targets[0].tolist()
    tall, wide = batch.images.shape[2:]
    box = np.array([[(x - width / 2) * wide, (y - height / 2) * tall,
                     (x + width / 2) * wide, (y + height / 2) * tall]], np.float32)  # fmt: skip
    expected = [[0.35 * 91, 0.3 * 37, 0.65 * 91, 0.5 * 37]]
    np.testing.assert_allclose(batch.frames[int(place)].to_image(box), expected, rtol=1e-4)
    assert kind == 1
    assert batch.frames[int(place)].size_hw == (37, 91)


def test_validation_gives_every_image_once_at_any_number_of_workers(index: ImageIndex) -> None:
    batches = validation_batches(index, SIZE, 2, 32, workers=2)
    assert equal(iter(batches), iter(validation_batches(index, SIZE, 2, 32)))
    paths = [frame.path for frame in chain.from_iterable(batch.frames for batch in batches)]
    assert sorted(paths) == list(index.paths)
    assert len(batches) == 4


def damage(index: ImageIndex) -> Path:
    """Spoil the picture, but neither the header nor the end."""
    path = index.paths[2]
    content = bytearray(path.read_bytes())
    content[60 : len(content) // 2] = bytes(len(content) // 2 - 60)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("count", [0, 2])
def test_validation_names_the_image_that_cannot_be_decoded(index: ImageIndex, count: int) -> None:
    path = damage(index)
    with pytest.raises(DataError, match=f"^{path}: cannot be decoded") as caught:
        list(validation_batches(index, SIZE, 2, 32, workers=count))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [0, 2])
def test_validation_that_is_not_strict_counts_the_objects_of_a_grey_picture(
    index: ImageIndex, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    whole = {
        frame.path: (frame, batch.targets[batch.targets[:, 0] == place, 1:])
        for batch in validation_batches(index, SIZE, 2, 32)
        for place, frame in enumerate(batch.frames)
    }
    path = damage(index)
    batches = validation_batches(index, SIZE, 2, 32, workers=count, strict=False)
    with caplog.at_level(logging.WARNING, logger="prunus"):
        passes = [list(batches) for _ in range(2)]
    assert caplog.text.count(f"{path}: cannot be decoded") == 1
    assert "its objects count as missed" in caplog.text
    for batch in passes[0]:
        for place, frame in enumerate(batch.frames):
            targets = batch.targets[batch.targets[:, 0] == place, 1:]
            assert frame == whole[frame.path][0]
            assert targets.equal(whole[frame.path][1])
            assert bool((batch.images[place] == GREY).all()) == (frame.path == path)


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_training_goes_on_without_the_image_that_cannot_be_decoded(
    index: ImageIndex, count: int, cache_bytes: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = damage(index)
    with caplog.at_level(logging.WARNING, logger="prunus"):
        batches = training(
            index, workers=count, cache_bytes=cache_bytes, augmentation=NO_AUGMENTATION
        )
        epoch = list(batches.epoch(0))
        list(batches.epoch(1))
    assert caplog.text.count(f"{path}: cannot be decoded") == 1
    for batch in epoch:
        for place, frame in enumerate(batch.frames):
            boxes = (batch.targets[:, 0] == place).sum()
            assert boxes == (0 if frame.path == path else 2)


def test_images_are_decoded_once_when_they_fit(
    index: ImageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prunus.data import tiles

    reads: list[Path] = []
    original = tiles.load_image

    def counted(path: Path, *, coarse_to: int = 0) -> np.ndarray:
        reads.append(path)
        assert coarse_to == SIZE
        return original(path, coarse_to=coarse_to)

    monkeypatch.setattr(tiles, "load_image", counted)
    still = NO_AUGMENTATION
    for cache_bytes, expected in ((7 * 48 * 64 * 3, 7), (7 * 48 * 64 * 3 - 1, 6 + 2), (0, 14)):
        reads.clear()
        batches = training(index, cache_bytes=cache_bytes, augmentation=still)
        for epoch in range(2):
            list(batches.epoch(epoch))
        assert len(reads) == expected


def test_workers_are_lowered_to_what_the_memory_holds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "available_bytes", lambda: 120_000_000)
    assert affordable(8, 5_000_000) == 4
    assert "120 MB of memory are free, room for 4 of 8 workers with batches of 5 MB" in caplog.text
    assert affordable(2, 5_000_000) == 2
    assert affordable(2, 50_000_000) == 0
    monkeypatch.setattr(workers, "available_bytes", lambda: None)
    assert affordable(8, 5_000_000) == 8
