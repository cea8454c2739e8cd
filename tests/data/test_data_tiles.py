"""Decoded pictures in a file: the same as decoded anew, within their budget, never stale."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from prunus.data import tile_file, tiles
from prunus.data.augment import Augmentation
from prunus.data.index import ImageIndex, build_index
from prunus.data.loader import TrainingBatches
from prunus.data.sampling import ByNeed, InRectangles, Repeated, shape_groups
from prunus.data.spec import read_data
from prunus.data.tile_file import SUFFIX
from prunus.data.tiles import Cache, Tiles

Writer = Callable[..., Path]
SIZE = 64
BYTES = 48 * 64 * 3


@pytest.fixture
def index(yolo_set: Writer) -> ImageIndex:
    labels = {f"{n}": f"{n % 3} .5 .5 .5 .5" for n in range(5)}
    return build_index(read_data(yolo_set(labels)), "train")


def opened(index: ImageIndex, cache: Cache) -> Tiles:
    made = Tiles(index, SIZE, cache)
    made.keep(0)
    return made


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    reads: list[Path] = []
    original = tiles.load_image

    def counted(path: Path, *, coarse_to: int = 0) -> np.ndarray:
        reads.append(path)
        return original(path, coarse_to=coarse_to)

    monkeypatch.setattr(tiles, "load_image", counted)
    return reads


@pytest.mark.parametrize("count", [5, 3, 0])
def test_pictures_are_the_same_wherever_they_are_kept(
    index: ImageIndex, tmp_path: Path, count: int
) -> None:
    anew = Tiles(index, SIZE, Cache(0))
    for folder in (None, tmp_path / "cache"):
        kept = opened(index, Cache(count * BYTES, folder))
        for image in range(5):
            np.testing.assert_array_equal(kept(image).image, anew(image).image)
            np.testing.assert_array_equal(kept(image).boxes, anew(image).boxes)


def test_the_file_is_used_again_and_only_holds_what_fits(
    index: ImageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = count_reads(monkeypatch)
    cache = Cache(3 * BYTES + 1, tmp_path / "cache")
    opened(index, cache)
    assert len(reads) == 3
    (file,) = (tmp_path / "cache").iterdir()
    assert file.stat().st_size == 3 * BYTES
    again = opened(index, cache)
    [again(image) for image in range(5)]
    assert reads[3:] == list(index.paths[3:])


def test_a_picture_that_changes_is_decoded_anew_and_the_old_file_makes_room(
    index: ImageIndex, tmp_path: Path
) -> None:
    cache = Cache(5 * BYTES, tmp_path / "cache")
    opened(index, cache)
    (old,) = (tmp_path / "cache").iterdir()
    path = index.paths[1]
    state = path.stat()
    path.write_bytes(index.paths[2].read_bytes())
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # the time of change stays
    fresh = opened(index, cache)
    np.testing.assert_array_equal(fresh(1).image, fresh(2).image)
    (new,) = (tmp_path / "cache").iterdir()
    assert new != old


def test_a_damaged_picture_is_told_every_time(index: ImageIndex, tmp_path: Path) -> None:
    path = index.paths[2]
    content = bytearray(path.read_bytes())
    content[60 : len(content) // 2] = bytes(len(content) // 2 - 60)
    path.write_bytes(content)
    for _ in range(2):
        kept = opened(index, Cache(5 * BYTES, tmp_path / "cache"))
        assert len(kept(2).boxes) == 0
        assert len(kept.problems) == 1
    assert not list((tmp_path / "cache").glob(f"*{SUFFIX}"))


def test_without_room_on_the_disk_images_are_decoded_each_time(
    index: ImageIndex,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    usage = os.statvfs(tmp_path)
    monkeypatch.setattr(tile_file.shutil, "disk_usage", lambda _: type("Free", (), {"free": 10}))
    assert usage.f_bavail > 0
    with caplog.at_level(logging.WARNING, logger="prunus"):
        kept = opened(index, Cache(5 * BYTES, tmp_path / "cache"))
    assert "GB free. Lower --cache-gb" in caplog.text
    assert "Images are decoded anew each time instead" in caplog.text
    assert kept(0).image.shape == (48, 64, 3)


def test_rectangles_are_trained_on_without_mosaic_at_their_own_shape(index: ImageIndex) -> None:
    sampling = InRectangles(shape_groups(index.sizes_hw, 2), stride=16, seed=0)
    batches = TrainingBatches(
        Tiles(index, SIZE), 2, Augmentation(translate=0, scale=0), seed=0, sampling=sampling
    )
    shapes = [tuple(batch.images.shape) for batch in batches.epoch(0)]
    assert shapes == [(2, 3, 48, 64), (2, 3, 48, 64), (1, 3, 48, 64)]
    for batch in batches.epoch(0):
        assert batch.targets[:, 2:].allclose(batch.targets.new_tensor(0.5))


def test_chosen_images_fill_mosaics_too_whatever_the_number_of_workers(index: ImageIndex) -> None:
    scores = (1.0, 0.5, 1.0)  # only class 1 is wanted: images 1 and 4
    kinds = set()
    made = []
    for workers in (0, 2):
        batches = TrainingBatches(
            Tiles(index, SIZE), 2, Augmentation(), seed=0, workers=workers,
            sampling=ByNeed(index, 0),
        )  # fmt: skip
        epoch = list(batches.epoch(3, scores=scores))
        kinds |= {kind for batch in epoch for kind in batch.targets[:, 1].tolist()}
        made.append(epoch)
    assert kinds == {1.0}
    for one, other in zip(*made, strict=True):
        assert one.images.equal(other.images)


def test_an_epoch_of_repeated_images_is_longer(index: ImageIndex) -> None:
    batches = TrainingBatches(
        Tiles(index, SIZE), 2, Augmentation(), seed=0, sampling=Repeated((1, 1, 3, 1, 2), 0)
    )
    assert len(batches) == 4
    paths = [frame.path for batch in batches.epoch(0) for frame in batch.frames]
    assert [paths.count(path) for path in index.paths] == [1, 1, 3, 1, 2]
