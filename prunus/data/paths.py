"""Paths of a data set: what lies inside its folder, the images in a folder, the lines of a list."""

import os
from collections.abc import Iterator
from pathlib import Path

from prunus.core.console import log
from prunus.core.errors import DataError, printable

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
REFUSED_SUFFIXES = (".gif", ".heic", ".heif", ".avif", ".jp2", ".dng", ".psd")
"""Listed like images, so that the report names them: nobody wants them to vanish in silence."""
MAX_LIST_BYTES = 1 << 30
MAX_NAME_BYTES = 255
"""Of every common file system."""
MAX_PATH_BYTES = 3800
"""Linux takes 4095; the rest is for the label file's folder and for temporary names."""


def confine(root: Path, entry: str, where: str) -> Path:
    """Return the absolute path of `entry` below `root`.

    Written-out escapes (`..`, absolute paths elsewhere) are refused. Links inside the data set are
    followed: whoever unpacked it decides where its disks lie.

    Raises:
        DataError: The path lies outside `root`, or no file can be called so.
    """
    place = Path(os.path.normpath(root / entry))
    _refuse_impossible(entry, place, where)
    if place.is_relative_to(root):
        return place
    try:
        real, real_root = place.resolve(), root.resolve()
    except (OSError, RuntimeError, ValueError):  # a ring of links, or a character no path has
        real, real_root = place, root
    if real.is_relative_to(real_root):
        return root / real.relative_to(real_root)
    raise DataError(
        f"{where}: '{printable(entry)}' lies outside the data set's folder {root}. "
        "Set 'path' to a folder that holds it."
    )


def _refuse_impossible(entry: str, place: Path, where: str) -> None:
    """Refuse what no file system takes: it would fail later, in the midst of something else."""
    try:
        parts = [os.fsencode(part) for part in place.parts]
    except UnicodeEncodeError:  # half of a pair of surrogates, as JSON and YAML can write it
        parts = [b"\0"]
    if "\0" in entry or b"\0" in parts:
        raise DataError(f"{where}: '{printable(entry)}' cannot be a file's name. Rename the file.")
    if any(len(part) > MAX_NAME_BYTES for part in parts):
        raise DataError(f"{where}: a name in it is longer than {MAX_NAME_BYTES} bytes.")
    if sum(len(part) + 1 for part in parts) > MAX_PATH_BYTES:
        raise DataError(f"{where}: the path is longer than {MAX_PATH_BYTES} bytes.")


def images_in(folder: Path) -> list[Path]:
    """Return the images in a folder, at any depth, also those of kinds that are refused later.

    Folders that cannot be read are logged.
    """
    return [
        Path(place, name)
        for place, _, names in os.walk(folder, onerror=_warn)
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES + REFUSED_SUFFIXES)
    ]


def _warn(error: OSError) -> None:
    place = printable(str(error.filename))
    log.warning("%s: cannot be read (%s): its images are left out", place, error.strerror or error)


def listed_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line of a list that is not empty.

    Raises:
        DataError: The list is missing, no text file, or cannot be read.
    """
    if not file.exists():
        raise DataError(f"{file}: no such file or folder.")
    if not file.is_file() or file.stat().st_size > MAX_LIST_BYTES:
        raise DataError(
            f"{file}: not a list of images. Give a folder, or a .txt with one image a line."
        )
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read as a list of images: {error}.") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def images_listed(root: Path, file: Path) -> list[Path]:
    """Return the images that a .txt names.

    A line `./…` is beside the list; any other is below `root`, or where nothing is there beside
    the list.

    Raises:
        DataError: The list cannot be read, or a line leaves the data set's folder.
    """
    images = []
    for number, line in listed_lines(file):
        beside = os.path.join(file.parent, line)  # noqa: PTH118 - an absolute line stays itself
        below_root = not line.startswith("./") and os.path.exists(root / line)  # noqa: PTH110
        place = line if below_root else beside  # Path.exists raises for names that are too long
        images.append(confine(root, place, f"{file}:{number}"))
    return images


def swap_folder(path: Path, old: str, new: str) -> Path:
    """Replace the last folder called `old` by `new`, if there is one."""
    parts = list(path.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == old:
            parts[place] = new
            break
    return Path(*parts)
