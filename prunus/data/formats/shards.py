"""Shards: uncompressed tars of images with YOLO labels beside them, `0001.jpg` and `0001.txt`.

An entry is one tar or a pattern, `train/shard-*.tar` or `shard-{000..099}.tar` as WebDataset writes
it. Members are read in place (`prunus.data.files`), so training, validation and all else take them
like files.
"""

import re
from glob import has_magic
from pathlib import Path

from prunus.core.errors import DataError
from prunus.data.formats import yolo
from prunus.data.formats.source import Source
from prunus.data.paths import IMAGE_SUFFIXES, REFUSED_SUFFIXES
from prunus.data.problems import Problem, RuleError
from prunus.data.shard import SUFFIX, read_shard

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
MOST_SHARDS = 100_000


def recognises(_root: Path, entry: str) -> bool:
    """Say whether the entry is a tar, or a pattern of tars."""
    return entry.lower().endswith(SUFFIX)


def open_entry(root: Path, entry: str, names: tuple[str, ...]) -> Source:
    """Return the images of one or several shards.

    Raises:
        DataError: There is no such shard.
    """
    images: list[Path] = []
    problems: list[Problem] = []
    for file in _files(root, entry):
        try:
            shard = read_shard(file)
        except RuleError as fault:
            problems.append(Problem(file, None, f"{fault}: shard left out", fault.rule))
            continue
        problems += [Problem(file, None, fault, "shard-damaged") for fault in shard.faults]
        images += [
            file / name
            for name in shard.members
            if name.lower().endswith(IMAGE_SUFFIXES + REFUSED_SUFFIXES)
        ]
    return Source(
        images,
        label_file,
        lambda image, size: yolo.read_labels(label_file(image), size, names),
        tuple(problems),
    )


def list_images(root: Path, entry: str) -> list[Path]:
    """Return the images of one or several shards. Raises DataError as `open_entry` does."""
    return open_entry(root, entry, ()).images


def label_file(image: Path) -> Path:
    """Return the member with the labels: the same name up to the ending."""
    return image.with_suffix(".txt")


def _files(root: Path, entry: str) -> list[Path]:
    entries = _expanded(entry)
    files = [
        file
        for one in entries
        for file in (sorted(root.glob(one)) if has_magic(one) else [root / one])
    ]
    missing = [file for file in files if not file.exists()]
    if missing or not files:
        raise DataError(f"{missing[0] if missing else root / entry}: no such file or folder.")
    return files


def _expanded(entry: str) -> list[str]:
    """Write out a range of numbers, which keeps its leading zeros."""
    found = RANGE.search(entry)
    if found is None:
        return [entry]
    first, last = int(found[1]), int(found[2])
    if not 0 <= last - first < MOST_SHARDS:
        raise DataError(f"{entry}: a range must rise, by less than {MOST_SHARDS}.")
    width = len(found[1])
    before, after = entry[: found.start()], entry[found.end() :]
    return [f"{before}{number:0{width}}{after}" for number in range(first, last + 1)]
