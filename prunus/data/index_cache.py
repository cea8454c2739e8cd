"""What `build_index` has read, kept in the user's cache folder (PRUNUS_CACHE or ~/.cache/prunus).

The key is made of every image's path, size and time of change, and of the *content* of every label
file, so that an edit that keeps size and time is noticed; only image headers and parsing are saved.
Measured on 20,000 images with 8 boxes each (2 cores, warm disk): 0.25 ms an image without, 0.05 to
0.07 with, of which 0.03 are the key; COCO's 118,287 images take 8 s instead of 30. A COCO JSON is
parsed all the same, since it says which images there are.

The files are plain arrays (`allow_pickle=False`), replaced in one step, one for each data set and
split; processes may share them. A damaged or outdated one counts as none.
"""

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from prunus.core.cache import cache_folder
from prunus.core.console import log
from prunus.core.errors import PrunusError
from prunus.core.files import write_atomically
from prunus.data.files import byte_count, is_regular, read_bytes, state
from prunus.data.formats.source import Source
from prunus.data.image_index import ImageIndex
from prunus.data.labels import Polygons
from prunus.data.problems import Problem
from prunus.data.spec import DataSpec

VERSION = 2
"""Of what is stored and of the rules that were applied; a change of either raises it."""
FEWEST_IMAGES = 500
"""Below this, reading afresh takes less than a fifth of a second."""
MAX_HASHED_BYTES = 2 << 30
"""Larger label files are refused by their readers."""
DAMAGE = (OSError, ValueError, KeyError, IndexError, TypeError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class IndexCache:
    """The stored index of one split.

    Attributes:
        file: Where it is.
        key: What it must have been made of.
    """

    file: Path
    key: str

    def load(self, spec: DataSpec, images: Sequence[Path]) -> ImageIndex | None:
        """Return the index, or None when there is none, or it is outdated or damaged."""
        if not self.file.is_file():
            return None
        try:
            with np.load(self.file, allow_pickle=False) as stored:
                if str(stored["key"]) != self.key:
                    return None
                return _unpack(stored, spec, images)
        except DAMAGE as error:
            log.info("%s: damaged, made anew: %s", self.file, " ".join(str(error).split()))
            return None

    def save(self, index: ImageIndex, images: Sequence[Path]) -> None:
        """Store an index. A folder that cannot be written is no error: the next run reads again."""
        arrays = _pack(index, images, self.key)

        def write(temporary: Path) -> None:
            with temporary.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **arrays)

        try:
            write_atomically(self.file, write)
        except PrunusError as error:
            log.info("the label index is not kept: %s", error)


def open_cache(
    spec: DataSpec, split: str, pairs: Sequence[tuple[Path, Source]]
) -> IndexCache | None:
    """Return the place of a split's index, or None when keeping it does not pay.

    Args:
        spec: The data set.
        split: Its name.
        pairs: Every image with its source, in the order of the index.
    """
    if len(pairs) < FEWEST_IMAGES:
        return None
    place = blake2b(repr((str(spec.path.absolute()), str(spec.root), split)).encode(
        "utf-8", "surrogateescape"), digest_size=16)  # fmt: skip
    return IndexCache(cache_folder() / "index" / f"{place.hexdigest()}.npz", _key(spec, pairs))


def _key(spec: DataSpec, pairs: Sequence[tuple[Path, Source]]) -> str:
    digest = blake2b(digest_size=32)
    digest.update(repr((VERSION, str(spec.root), spec.names, spec.format)).encode(
        "utf-8", "surrogateescape"))  # fmt: skip
    whole: set[Path] = set()
    for image, source in pairs:
        digest.update(os.fsencode(image) + b"\0" + _state(image))
        if source.one_file is None:
            digest.update(_content(source.label_file(image)))
        elif source.one_file not in whole:
            whole.add(source.one_file)
            digest.update(os.fsencode(source.one_file) + b"\0" + _content(source.one_file))
    return digest.hexdigest()


def _state(file: Path) -> bytes:
    try:
        return repr(state(file)).encode()
    except OSError:
        return b"missing"


def _content(file: Path) -> bytes:
    """Return the hash of a regular file's bytes, else its state: odd files are never opened."""
    try:
        if not is_regular(file) or byte_count(file) > MAX_HASHED_BYTES:
            return _state(file)
        return blake2b(read_bytes(file), digest_size=16).digest()
    except OSError:
        return b"missing"


def _pack(index: ImageIndex, images: Sequence[Path], key: str) -> dict[str, Any]:
    places = {image: number for number, image in enumerate(images)}
    problems = [
        (os.fsencode(p.file).decode("latin-1"), p.line, p.message, p.rule) for p in index.problems
    ]
    arrays = {
        "key": np.array(key),
        "images": np.array([places[path] for path in index.paths], dtype=np.int64),
        "sizes_hw": index.sizes_hw,
        "boxes": index.boxes,
        "offsets": index.offsets,
        "problems": np.frombuffer(json.dumps(problems).encode(), dtype=np.uint8),
    }
    if index.polygons is not None:
        polygons = index.polygons
        arrays |= {"points": polygons.points, "rings": polygons.rings, "parts": polygons.boxes}
    return arrays


def _unpack(stored: Any, spec: DataSpec, images: Sequence[Path]) -> ImageIndex:
    polygons = None
    if "points" in stored:
        polygons = Polygons(stored["points"], stored["rings"], stored["parts"])
    problems = json.loads(stored["problems"].tobytes())
    return ImageIndex(
        names=spec.names,
        paths=tuple(images[number] for number in stored["images"]),
        sizes_hw=stored["sizes_hw"],
        boxes=stored["boxes"],
        offsets=stored["offsets"],
        problems=tuple(
            Problem(Path(os.fsdecode(file.encode("latin-1"))), line, message, rule)
            for file, line, message, rule in problems
        ),
        polygons=polygons,
    )
