"""Picture files, and the files that folders and patterns name."""

import glob
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prunus.core.errors import DataError, printable
from prunus.data.decode import load_image
from prunus.data.paths import IMAGE_SUFFIXES
from prunus.predict.shot import Shot, Source

LOSSLESS = (".png", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class PictureFile:
    """One picture; see `shot.Source`."""

    path: Path
    count = 1
    fps = None
    live = False

    @property
    def title(self) -> str:
        return str(self.path)

    @property
    def stem(self) -> str:
        return self.path.stem

    @property
    def lossless(self) -> bool:
        return self.path.suffix.lower() in LOSSLESS

    def __iter__(self) -> Iterator[Shot]:
        yield Shot(load_image(self.path), self)


def claims(word: str) -> bool:
    return Path(word).suffix.lower() in IMAGE_SUFFIXES


def open_source(word: str, vid_stride: int) -> Source:  # noqa: ARG001 - of the table's kinds
    return PictureFile(Path(word))


def files_of(source: str, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files with these suffixes that one word means: a file, a folder or a pattern.

    Raises:
        DataError: There is none; says what was looked for.
    """
    try:
        return _files_of(source, suffixes)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(printable(f"{source}: cannot be looked at: {reason}.")) from error


def _files_of(source: str, suffixes: tuple[str, ...]) -> list[Path]:
    path = Path(source)
    if path.is_dir():
        advice = f"Try '{path / '**'}' for the folders within."
        return _only(source, path.iterdir(), suffixes, advice)
    if path.exists():
        return _only(source, [path], suffixes, "Convert it first.")
    if glob.has_magic(source):
        matches = (Path(match) for match in glob.glob(source, recursive=True))  # noqa: PTH207  absolute too
        advice = "Quote the pattern so that the shell leaves it alone."
        return _only(source, matches, suffixes, advice)
    raise DataError(printable(f"{source}: no such picture, video or folder."))


def _only(source: str, paths: Iterable[Path], suffixes: tuple[str, ...], advice: str) -> list[Path]:
    files = [path for path in paths if path.suffix.lower() in suffixes and path.is_file()]
    if not files:
        looked_for = ", ".join(suffixes)
        raise DataError(printable(f"{source}: nothing to look at there ({looked_for}). {advice}"))
    return sorted(files, key=_natural)


def _natural(path: Path) -> tuple[list[tuple[bool, int, str]], str]:
    """Order `2.jpg` before `10.jpg`."""
    pieces = re.split(r"(\d+)", str(path))
    return [(not p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in pieces], str(path)
