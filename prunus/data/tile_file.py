"""Decoded pictures in one raw file, mapped into memory: `--cache disk`.

The file's name is a fingerprint of the pictures: path, size and times of each file, and the shape
that it was brought to. A picture that changes makes another file. It is written whole or not at
all, never among the data, and old ones make room.
"""

import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import cast

import numpy as np

from prunus.core.console import log
from prunus.core.errors import PrunusError
from prunus.core.files import write_atomically
from prunus.core.records import Size
from prunus.data.decode import Pixels
from prunus.data.files import state

FORMAT = "prunus tiles 1"
SUFFIX = ".tiles"


class TileFile:
    """Pictures of known shapes, one after the other in a file.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, shapes_hw: Sequence[Size]) -> None:
        self.path = path
        self._shapes = shapes_hw
        self._starts = _starts(shapes_hw)
        self._bytes = np.memmap(path, dtype=np.uint8, mode="r")

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, number: int) -> Pixels:
        """Return one picture; reading it is what reads the disk."""
        start, end = self._starts[number], self._starts[number + 1]
        picture = np.asarray(self._bytes[start:end]).reshape(*self._shapes[number], 3)
        return cast(Pixels, picture)


def open_tiles(
    folder: Path,
    paths: Sequence[Path],
    shapes_hw: Sequence[Size],
    decode: Callable[[], Iterable[Pixels]],
    *,
    bytes_at_most: int,
) -> TileFile:
    """Return the pictures of these files, decoded now or by an earlier run.

    Args:
        folder: Where such files are kept.
        paths: The image files.
        shapes_hw: What each is brought to.
        decode: Gives the pictures in this order; only called when there is no file yet.
        bytes_at_most: Of all files in the folder; the oldest are removed.

    Raises:
        PrunusError: The file cannot be written, or the disk has no room for it.
    """
    path = folder / f"{fingerprint(paths, shapes_hw)}{SUFFIX}"
    size = _starts(shapes_hw)[-1]
    if path.is_file() and path.stat().st_size == size:
        path.touch()
        return TileFile(path, shapes_hw)
    _make_room(folder, bytes_at_most - size)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise PrunusError(
            f"{folder}: {size / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free. Lower --cache-gb, or "
            "choose another folder with --cache-dir."
        )

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            for picture in decode():
                file.write(np.ascontiguousarray(picture).data)

    write_atomically(path, write)
    return TileFile(path, shapes_hw)


def fingerprint(paths: Sequence[Path], shapes_hw: Sequence[Size]) -> str:
    """Return a name for these pictures as they are now on disk, at these shapes."""
    digest = blake2b(FORMAT.encode(), digest_size=16)
    for path, shape in zip(paths, shapes_hw, strict=True):
        try:
            facts = state(path)
        except OSError:
            facts = ()  # decoding will say so
        digest.update(repr((str(path.absolute()), facts, shape)).encode())
    return digest.hexdigest()


def _starts(shapes_hw: Sequence[Size]) -> list[int]:
    """Return where each picture starts, and where the last one ends."""
    sizes = [3 * height * width for height, width in shapes_hw]
    return [0, *np.cumsum(sizes, dtype=np.int64).tolist()]


def _make_room(folder: Path, bytes_at_most: int) -> None:
    """Make the folder, and remove the files that were used longest ago."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PrunusError(
            f"{folder}: cannot be made: {error.strerror}. Choose another with --cache-dir."
        ) from error
    with suppress(OSError):  # another run may be clearing up as well
        files = sorted(folder.glob(f"*{SUFFIX}"), key=lambda file: file.stat().st_mtime)
        total = sum(file.stat().st_size for file in files)
        for file in files:
            if total <= bytes_at_most:
                return
            total -= file.stat().st_size
            file.unlink()
            log.info("cache: %s removed to make room", file.name)
