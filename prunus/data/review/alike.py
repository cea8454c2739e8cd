"""The same picture twice, and nearly the same picture on both sides of a split.

Same: equal bytes (SHA-256). Nearly the same: two fingerprints agree, a difference hash of 64 bits
(Krawetz, "Kind of Like That", 2013: is each pixel of a 9×8 thumbnail brighter than its right
neighbour?) in all but `MOST_BITS` bits, and the grey thumbnails themselves in all but noise. The
second test is what tells a scene from another of the same layout. Measured on BCCD and 256 COCO
images (60 of each altered): JPEG at quality 30, half size, a little brighter or noisy stay within 8
bits and .11, crops of 2 % within 10 bits and .43 (most below .3); of the pairs that differ the
nearest lies at .50. Mirrored, turned and further cropped copies are not found.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from prunus.core.console import track
from prunus.core.errors import DataError
from prunus.data.decode import Pixels, load_image
from prunus.data.files import read_bytes
from prunus.data.image_index import ImageIndex
from prunus.data.problems import Problem

MOST_BITS = 10
"""Of 64."""
MOST_NOISE = 0.3
"""Root mean square between thumbnails of mean 0 and deviation 1: a correlation of .955."""
THUMBNAIL = 24
DECODED_PX = 72
"""Thumbnails need no more; libjpeg decodes at an eighth then."""
ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class Fingerprints:
    """Of the N images of a split; images that cannot be decoded have none.

    Attributes:
        paths: N images.
        contents: SHA-256 of each file.
        hashes: (N,) uint64 difference hashes.
        thumbnails: (N, THUMBNAIL²) float16, of mean 0 and deviation 1.
        damaged: What could not be decoded.
    """

    paths: tuple[Path, ...]
    contents: tuple[bytes, ...]
    hashes: NDArray[np.uint64]
    thumbnails: NDArray[np.float16]
    damaged: tuple[Problem, ...]


def fingerprints(index: ImageIndex, title: str) -> Fingerprints:
    """Read every image once, at reduced scale."""
    paths, contents, hashes, thumbnails, damaged = [], [], [], [], []
    for path in track(index.paths, title):
        try:
            grey = _grey(load_image(path, coarse_to=DECODED_PX))
            contents.append(sha256(read_bytes(path)).digest())
        except DataError as error:
            message = f"{error.__cause__ or error}: image left out"
            damaged.append(Problem(path, None, message, "image-damaged"))
            continue
        paths.append(path)
        hashes.append(difference_hash(grey))
        thumbnails.append(_thumbnail(grey))
    empty = np.zeros((0, THUMBNAIL**2), dtype=np.float16)
    stacked = np.stack(thumbnails) if thumbnails else empty
    return Fingerprints(
        tuple(paths), tuple(contents), np.array(hashes, dtype=np.uint64), stacked, tuple(damaged)
    )


def _grey(pixels: Pixels) -> Pixels:
    return cast(Pixels, cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))


def difference_hash(grey: Pixels) -> int:
    """Return 64 bits, one for each pixel of a 9×8 thumbnail that outshines its right neighbour."""
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    bits = small[:, :-1] > small[:, 1:]
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _thumbnail(grey: Pixels) -> NDArray[np.float16]:
    small = cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    flat = small.astype(np.float32).reshape(-1)
    flat -= flat.mean()
    return (flat / max(float(flat.std()), 1.0)).astype(np.float16)


def same_files(root: Path, splits: Mapping[str, Fingerprints]) -> list[Problem]:
    """Name every file whose bytes are those of an earlier one, within a split or in another."""
    first: dict[bytes, tuple[str, Path]] = {}
    found = []
    for split, prints in splits.items():
        for path, content in zip(prints.paths, prints.contents, strict=True):
            known = first.setdefault(content, (split, path))
            if known == (split, path):
                continue
            if known[0] == split:
                message, rule = f"the same bytes as {_below(root, known[1])}", "image-twice"
            else:
                message = f"{split}: the same image is in {known[0]}: {_below(root, known[1])}"
                rule = "split-same-image"
            found.append(Problem(path, None, message, rule))
    return found


def near_images(root: Path, splits: Mapping[str, Fingerprints]) -> list[Problem]:
    """Name the images of later splits that nearly equal one of an earlier split."""
    found = []
    for (early, a), (late, b) in combinations(splits.items(), 2):
        for one, other in _near_pairs(a, b):
            message = f"{late}: nearly the same picture is in {early}: {_below(root, a.paths[one])}"
            found.append(Problem(b.paths[other], None, message, "split-near-image"))
    return found


def _near_pairs(a: Fingerprints, b: Fingerprints) -> Iterator[tuple[int, int]]:
    """Yield positions in both, each image of `b` once at most, and none that are the same bytes.

    The hash decides first: 64-bit words against megabytes.
    """
    told = np.zeros(len(b.hashes), dtype=bool)
    for start in range(0, len(a.hashes), ROWS_AT_ONCE):
        rows = a.hashes[start : start + ROWS_AT_ONCE]
        close = np.bitwise_count(rows[:, None] ^ b.hashes[None]) <= MOST_BITS
        for column in np.flatnonzero(close.any(axis=0) & ~told):
            near = start + np.flatnonzero(close[:, column])
            gaps = a.thumbnails[near].astype(np.float32) - b.thumbnails[column]
            for row in near[np.sqrt((gaps * gaps).mean(axis=1)) <= MOST_NOISE]:
                if a.contents[row] != b.contents[column]:
                    told[column] = True
                    yield int(row), int(column)
                    break


def _below(root: Path, path: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path
