"""The cached index: the same as a fresh one, never stale, never trusted when damaged."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from prunus.data import index as index_room
from prunus.data import index_cache
from prunus.data.image_index import ImageIndex
from prunus.data.index import build_index
from prunus.data.index_cache import cache_folder
from prunus.data.spec import DataSpec, read_data

Writer = Callable[..., Path]
LABELS = {
    "a": "0 .5 .5 .2 .2\n1 .1 .1 .5 .1 .5 .5",
    "b": "9 .5 .5 .2 .2\n2 .3 .3 .1 .1",
    "梅\n": "1 .2 .2 .1 .1",
    "none": "",
}


@pytest.fixture(autouse=True)
def small_sets_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_cache, "FEWEST_IMAGES", 1)


@pytest.fixture
def spec(yolo_set: Writer) -> DataSpec:
    return read_data(yolo_set(LABELS))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The images whose headers were read, as it happens."""
    seen: list[Path] = []
    size = index_room._size
    monkeypatch.setattr(index_room, "_size", lambda image: (seen.append(image), size(image))[1])
    yield seen


def stored(folder: Path) -> list[Path]:
    return sorted((folder / "index").glob("*"))


def assert_equal(one: ImageIndex, other: ImageIndex) -> None:
    assert (one.names, one.paths, one.problems) == (other.names, other.paths, other.problems)
    for name in ("sizes_hw", "boxes", "offsets"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    for image in range(len(one)):
        for a, b in zip(one.outlines_of(image), other.outlines_of(image), strict=True):
            for ring, again in zip(a, b, strict=True):
                np.testing.assert_array_equal(ring, again)


def test_a_second_run_reads_no_image_and_gets_the_same(
    spec: DataSpec, reads: list[Path], own_cache: Path
) -> None:
    fresh = build_index(spec, "train", cache=False)
    first = build_index(spec, "train")
    reads.clear()
    again = build_index(spec, "train")
    assert reads == []
    assert_equal(fresh, first)
    assert_equal(fresh, again)
    assert len(stored(own_cache)) == 1
    assert not list(spec.root.rglob("*.npz")) or own_cache.is_relative_to(spec.root)


@pytest.mark.parametrize("change", ["class", "image", "added", "removed", "label gone", "names"])
def test_every_change_is_noticed(
    yolo_set: Writer, spec: DataSpec, reads: list[Path], change: str
) -> None:
    build_index(spec, "train")
    label, image = spec.root / "labels" / "a.txt", spec.root / "images" / "a.png"
    if change == "class":  # the same size, and the same time as well
        times = label.stat()
        label.write_text(LABELS["a"].replace("0 .5", "2 .5"), encoding="utf-8")
        os.utime(label, ns=(times.st_atime_ns, times.st_mtime_ns))
    elif change == "image":
        times = image.stat()
        os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    elif change == "added":
        (spec.root / "images" / "c.png").write_bytes(image.read_bytes())
    elif change == "removed":
        image.unlink()
    elif change == "label gone":
        label.unlink()
    else:
        spec = read_data(yolo_set(LABELS, names=("a", "b", "c", "d")))
    reads.clear()
    assert_equal(build_index(spec, "train"), build_index(spec, "train", cache=False))
    assert len(reads) >= 2 * len(build_index(spec, "train"))


@pytest.mark.parametrize("damage", ["empty", "half", "flipped", "noise", "text", "pickle"])
def test_a_damaged_cache_is_rebuilt_with_one_line(
    spec: DataSpec, own_cache: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    fresh = build_index(spec, "train")
    (file,) = stored(own_cache)
    whole = file.read_bytes()
    if damage == "pickle":
        with file.open("wb") as stream:
            np.savez(stream, key=np.array({"a": print}, dtype=object))
    else:
        half = len(whole) // 2
        file.write_bytes(
            {
                "empty": b"",
                "half": whole[:half],
                "flipped": whole[:half] + bytes([whole[half] ^ 255]) + whole[half + 1 :],
                "noise": os.urandom(len(whole)),
                "text": b"hello",
            }[damage]
        )
    with caplog.at_level(logging.INFO, logger="prunus"):
        assert_equal(build_index(spec, "train"), fresh)
    assert damage == "flipped" or caplog.text.count("damaged, made anew") == 1
    assert_equal(build_index(spec, "train"), fresh)


def test_a_folder_that_cannot_be_written_is_no_error(
    spec: DataSpec, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own_cache.write_text("a file, not a folder")
    with caplog.at_level(logging.INFO, logger="prunus"):
        assert len(build_index(spec, "train")) == 4
    assert caplog.text.count("the label index is not kept") == 1


def test_runs_at_the_same_time_share_it(spec: DataSpec, own_cache: Path) -> None:
    fresh = build_index(spec, "train", cache=False)
    found: list[ImageIndex] = []

    def run() -> None:
        found.extend(build_index(spec, "train") for _ in range(10))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40
    for index in found:
        assert_equal(index, fresh)
    assert len(stored(own_cache)) == 1, "no temporary file stays"


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNUS_CACHE", "/somewhere")
    assert cache_folder() == Path("/somewhere")
    monkeypatch.delenv("PRUNUS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert cache_folder() == Path("/cache/prunus")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "prunus"
