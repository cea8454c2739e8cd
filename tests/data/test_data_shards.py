"""Shards read in place: the same data set as in files, samples by number, damage named."""

import io
import os
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from prunus.core.errors import DataError
from prunus.data import index_cache
from prunus.data.augment import NO_AUGMENTATION
from prunus.data.convert.run import write_data_set
from prunus.data.decode import load_image
from prunus.data.files import open_binary, place_of, read_bytes, state
from prunus.data.formats.shards import _expanded, list_images
from prunus.data.index import build_index
from prunus.data.loader import TrainingBatches, validation_batches
from prunus.data.review.strays import strays
from prunus.data.shard import read_shard
from prunus.data.spec import read_data
from prunus.data.tiles import Tiles

Writer = Callable[..., Path]
TEXT = "0 .5 .5 .4 .4\n1 .2 .2 .1 .1\n"


def write_shard(file: Path, members: Iterable[tuple[str, bytes]]) -> None:
    with tarfile.open(file, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def png(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def sample(number: int) -> list[tuple[str, bytes]]:
    return [(f"{number:04}.png", png(number)), (f"{number:04}.txt", TEXT.encode())]


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """The YAML of eight images in two shards."""
    for shard in range(2):
        members = [item for n in range(4 * shard, 4 * shard + 4) for item in sample(n)]
        write_shard(tmp_path / f"s-{shard:03}.tar", members)
    content = {"train": "s-{000..001}.tar", "val": "s-*.tar", "names": ["a", "b"]}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "data.yaml"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The YAML of the same images as files."""
    root = tmp_path / "files"
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for number in range(8):
        for name, content in sample(number):
            folder = "labels" if name.endswith("txt") else "images"
            (root / folder / name).write_bytes(content)
    (root / "data.yaml").write_text("train: images\nval: images\nnames: [a, b]\n")
    return root / "data.yaml"


def test_a_sharded_set_is_the_same_as_in_files(sharded: Path, files: Path) -> None:
    one, other = (build_index(read_data(file), "train") for file in (sharded, files))
    assert one.problems == other.problems == ()
    assert tuple(list_images(sharded.parent, "s-*.tar")) == one.paths
    assert [path.name for path in one.paths] == [path.name for path in other.paths]
    np.testing.assert_array_equal(one.boxes, other.boxes)
    np.testing.assert_array_equal(one.sizes_hw, other.sizes_hw)
    for a, b in zip(one.paths, other.paths, strict=True):
        np.testing.assert_array_equal(load_image(a), load_image(b))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_to_the_bit_whatever_the_workers(
    sharded: Path, files: Path, workers: int
) -> None:
    indices = [build_index(read_data(file), "train") for file in (sharded, files)]
    streams = [
        TrainingBatches(Tiles(index, 64), 4, NO_AUGMENTATION, seed=3, workers=count).epoch(1)
        for index, count in zip(indices, (workers, 0), strict=True)
    ]
    for one, other in zip(*streams, strict=True):
        assert one.images.equal(other.images)
        assert one.targets.equal(other.targets)
    sides = [validation_batches(index, 64, 4, 32, workers=workers) for index in indices]
    for one, other in zip(*sides, strict=True):
        assert one.images.equal(other.images)


def test_a_member_reads_like_a_file(sharded: Path) -> None:
    path = sharded.parent / "s-001.tar" / "0005.png"
    content = png(5)
    assert read_bytes(path) == content
    with open_binary(path) as stream:
        assert stream.seek(-4, os.SEEK_END) == len(content) - 4
        assert stream.read(99) == content[-4:]
        assert stream.seek(8) == 8
        assert stream.read(8) == content[8:16]
        assert stream.read() == content[16:]
        assert stream.read() == b""
    assert place_of(sharded.parent / "s-001.tar" / "none.png") is None
    assert place_of(sharded.parent / "none.tar" / "0005.png") is None


def test_a_changed_shard_is_read_again(sharded: Path) -> None:
    file = sharded.parent / "s-000.tar"
    path = file / "0000.png"
    before, told = read_bytes(path), state(path)
    write_shard(file, [("0009.txt", b""), ("0000.png", png(77))])
    assert read_bytes(path) == png(77) != before
    assert state(path) != told
    told = state(path)
    os.utime(file, ns=(0, 0))
    assert state(path) != told


def test_the_index_cache_notices_a_changed_label(
    sharded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_cache, "FEWEST_IMAGES", 1)
    spec = read_data(sharded)
    first, again = (build_index(spec, "train") for _ in range(2))
    np.testing.assert_array_equal(first.boxes, again.boxes)
    file = sharded.parent / "s-000.tar"
    times = file.stat()
    file.write_bytes(file.read_bytes().replace(b"0 .5 .5", b"1 .5 .5"))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert build_index(spec, "train").boxes[0, 0] == 1


def damaged(sharded: Path, change: Callable[[bytes], bytes]) -> tuple[list[str], list[str]]:
    """Change the second shard; return the images left and the problems."""
    file = sharded.parent / "s-001.tar"
    file.write_bytes(change(file.read_bytes()))
    index = build_index(read_data(sharded), "train")
    return [path.stem for path in index.paths], [str(problem) for problem in index.problems]


def test_a_shard_cut_short_keeps_what_is_whole(sharded: Path) -> None:
    block = tarfile.BLOCKSIZE
    third = len(png(4)) // block * block + 4 * block  # of the first image and its label
    left, problems = damaged(sharded, lambda content: content[: third + block + 100])
    assert left[:5] == ["0000", "0001", "0002", "0003", "0004"]
    assert any("s-001.tar" in line and ("ends early" in line or "damaged" in line)
               for line in problems)  # fmt: skip


@pytest.mark.parametrize("how", ["empty", "noise", "gzip", "header"])
def test_a_damaged_shard_is_named_and_the_others_go_on(sharded: Path, how: str) -> None:
    import gzip

    def change(content: bytes) -> bytes:
        if how == "header":  # the third member's
            place = content.index(b"0005.png")
            return content[:place] + b"\xff" * 100 + content[place + 100 :]
        return {"empty": b"", "noise": os.urandom(9999), "gzip": gzip.compress(content)}[how]

    left, problems = damaged(sharded, change)
    assert left == ["0000", "0001", "0002", "0003"] + ["0004"] * (how == "header")
    (line,) = problems
    words = "damaged after 2 members" if how == "header" else "no uncompressed tar"
    assert line.startswith(f"s-001.tar: {words}")


def test_a_broken_picture_in_a_shard_goes_alone(sharded: Path) -> None:
    members = [item for number in range(3) for item in sample(number)]
    members[0] = ("0000.png", png(0)[:-40])
    members[2] = ("0001.png", b"")
    write_shard(sharded.parent / "s-000.tar", members)
    index = build_index(read_data(sharded), "train")
    assert [str(problem) for problem in index.problems] == [
        "s-000.tar/0000.png: the PNG ends early, its last part is missing: image left out",
        "s-000.tar/0001.png: an empty file: image left out",
    ]
    assert len(index) == 5


def test_hostile_members_are_left_alone(sharded: Path) -> None:
    file = sharded.parent / "s-000.tar"
    with tarfile.open(file, "w") as archive:
        for name, kind, link in (
            ("link.png", tarfile.SYMTYPE, "/etc/passwd"),
            ("hard.png", tarfile.LNKTYPE, "../../etc/passwd"),
            ("zero.png", tarfile.CHRTYPE, ""),
            ("pipe.png", tarfile.FIFOTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            archive.addfile(info)
        for name in ("../../out.png", "/etc/abs.png", "./good.png", "good.png"):
            info = tarfile.TarInfo(name)
            info.size = len(png(1))
            archive.addfile(info, io.BytesIO(png(1)))
        archive.addfile(tarfile.TarInfo("good.txt"))
    shard = read_shard(file)
    assert set(shard.members) == {"good.png", "good.txt"}
    assert len(shard.faults) == 7
    left = [p.name for p in build_index(read_data(sharded), "train").paths]
    assert left == ["good.png", "0004.png", "0005.png", "0006.png", "0007.png"]


def test_ranges_keep_their_zeros() -> None:
    assert _expanded("a-{008..010}.tar") == ["a-008.tar", "a-009.tar", "a-010.tar"]
    assert _expanded("a.tar") == ["a.tar"]
    with pytest.raises(DataError, match="a range must rise, by less than 100000"):
        _expanded("a-{0..999999999}.tar")


def test_shards_of_no_use_at_all_say_why(sharded: Path) -> None:
    for file in sharded.parent.glob("*.tar"):
        file.write_bytes(b"no tar")
    with pytest.raises(DataError, match=r"no images in .* no uncompressed tar: .*shard left out"):
        build_index(read_data(sharded), "train")


@pytest.mark.parametrize("entry", ["none.tar", "none-*.tar", "s-{000..002}.tar"])
def test_a_missing_shard_is_named(sharded: Path, entry: str) -> None:
    sharded.write_text(yaml.safe_dump({"train": entry, "names": ["a"]}))
    with pytest.raises(DataError, match=r"train: .*(none|s-002).*: no such file or folder"):
        build_index(read_data(sharded), "train")


def test_shards_become_files_and_are_checked(sharded: Path, tmp_path: Path) -> None:
    spec = read_data(sharded)
    assert strays(spec, "train") == []
    index = build_index(spec, "train")
    (tmp_path / "out").mkdir()
    written = write_data_set(spec, {"train": index}, "yolo", tmp_path / "out", copy=True)
    again = build_index(read_data(written), "train")
    np.testing.assert_array_equal(again.boxes, index.boxes)
    assert again.paths[0].read_bytes() == png(0)
    with pytest.raises(DataError, match=r"lies in a shard: leave out --no-copy"):
        write_data_set(spec, {"train": index}, "coco", tmp_path / "links", copy=False)


def test_headers_in_a_chain_are_damage(sharded: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type = tarfile.XHDTYPE
    info.size = len(b"9 path=a\n")
    link = info.tobuf() + b"9 path=a\n".ljust(tarfile.BLOCKSIZE, b"\0")
    left, (line,) = damaged(sharded, lambda content: link * 5000 + content)
    assert left == ["0000", "0001", "0002", "0003"]
    assert line.startswith("s-001.tar: no uncompressed tar: maximum recursion depth")


def test_a_shard_may_be_called_in_capitals(sharded: Path) -> None:
    (sharded.parent / "s-000.tar").rename(sharded.parent / "S.TAR")
    sharded.write_text(yaml.safe_dump({"train": "S.TAR", "names": ["a", "b"]}))
    index = build_index(read_data(sharded), "train")
    assert [path.name for path in index.paths] == [f"{n:04}.png" for n in range(4)]
    assert len(index.boxes) == 8
    np.testing.assert_array_equal(load_image(index.paths[0]).shape, (48, 64, 3))
