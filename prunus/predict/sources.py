"""What the user points at → image files: images, folders, patterns."""

import glob
import re
from collections.abc import Iterable
from pathlib import Path

from prunus.core.errors import DataError
from prunus.data.paths import IMAGE_SUFFIXES


def find_images(sources: Iterable[str | Path]) -> tuple[Path, ...]:
    """Return the images that the sources name, each once, those of one folder in natural order.

    Args:
        sources: Image files, folders (their own images, not those of folders within) and patterns
            such as `photos/**/*.jpg`.

    Raises:
        DataError: A source names no image.
    """
    found: dict[Path, None] = {}
    for source in sources:
        found.update(dict.fromkeys(_images_of(str(source))))
    if not found:
        raise DataError("no source: give an image, a folder, or a pattern such as 'photos/*.jpg'.")
    return tuple(found)


def _images_of(source: str) -> list[Path]:
    path = Path(source)
    if path.is_dir():
        return _only_images(source, path.iterdir(), f"Try '{path / '**'}' for the folders within.")
    if path.exists():
        return _only_images(source, [path], "Convert it first.")
    if glob.has_magic(source):
        matches = (Path(match) for match in glob.glob(source, recursive=True))  # noqa: PTH207  absolute too
        return _only_images(source, matches, "Quote the pattern so that the shell leaves it alone.")
    if "://" in source or source.isdigit():
        raise DataError(f"{source}: addresses and cameras are not read. Give images or a folder.")
    raise DataError(f"{source}: no such image or folder.")


def _only_images(source: str, paths: Iterable[Path], advice: str) -> list[Path]:
    images = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    if not images:
        raise DataError(f"{source}: no image there ({', '.join(IMAGE_SUFFIXES)}). {advice}")
    return sorted(images, key=_natural)


def _natural(path: Path) -> tuple[list[tuple[bool, int, str]], str]:
    """Order `2.jpg` before `10.jpg`."""
    pieces = re.split(r"(\d+)", str(path))
    return [(not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in pieces], str(path)
