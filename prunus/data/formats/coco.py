"""COCO JSON: `images` say which pictures there are, `annotations` what is in them.

A category is the class of the same name; where no name is known but there are as many categories
as names, the categories by rising id are the classes in their order, and that is reported. Crowds
(`iscrowd`) are left out and counted: a group is not to be learnt as one object. Run-length masks
count as their `bbox`; polygons are kept. Lin et al., "Microsoft COCO", ECCV 2014;
https://cocodataset.org/#format-data.
"""

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from prunus.core.errors import DataError, printable
from prunus.data.formats.coco_extras import read_extras
from prunus.data.formats.coco_file import CocoFile, parse
from prunus.data.formats.coco_labels import Known, numbered, read_labels
from prunus.data.formats.coco_lines import lines_of, no_lines
from prunus.data.formats.source import Extras, Sized, Source
from prunus.data.labels import Labels
from prunus.data.paths import confine
from prunus.data.problems import Problem

SUFFIX = ".json"
ROBOFLOW = "_annotations.coco.json"
FILES_KEPT = 2
"""Parsed files in memory: a data set's two splits."""
TRIED_IMAGES = 20


def recognises(root: Path, entry: str) -> bool:
    """Say whether the entry is a JSON file, or a folder with Roboflow's."""
    return entry.lower().endswith(SUFFIX) or (root / entry / ROBOFLOW).is_file()


def json_of(place: Path) -> Path:
    """Return the JSON that an entry means: itself, or the only one in the folder.

    Raises:
        DataError: The folder holds none, or several.
    """
    if not place.is_dir():
        return place
    found = sorted(place.glob(f"*{SUFFIX}"))
    if len(found) != 1:
        raise DataError(f"{place}: a folder with {len(found)} JSON files. Name the right one.")
    return found[0]


def open_entry(root: Path, entry: str, names: tuple[str, ...]) -> Source:
    """Return the images that a JSON lists.

    Raises:
        DataError: The file is missing, no COCO JSON, names an image outside the data set, or its
            categories do not fit the names.
    """
    file = json_of(root / entry)
    content = read_file(file)
    classes, problems = _classes(file, content, names)
    images = {path: number for number, path in enumerate(_paths(root, file, content))}
    known = Known(file, content, classes, len(names))

    def read(image: Path, size_hw: tuple[int, int]) -> Labels:
        labels, _ = read_labels(known, images[image], size_hw, no_lines)
        if labels.problems:  # where they are is looked up only now
            labels, _ = read_labels(known, images[image], size_hw, lines_of(file))
        return labels

    def extras(wanted: Sequence[Sized]) -> list[Extras | None]:
        records = [numbered(known, images[image], size_hw) for image, size_hw in wanted]
        return [*read_extras(file, classes, names, records)]

    crowds = sum(a.crowd for listed in content.annotations for a in listed)
    if crowds:
        message = f"{crowds} crowd annotations (iscrowd 1) are not trained on"
        problems.append(Problem(file, None, message, "box-crowd"))
    if content.run_lengths:
        message = f"{content.run_lengths} run-length masks: their bbox is used"
        problems.append(Problem(file, None, message, "box-rle"))
    find = lines_of(file) if content.problems else no_lines
    problems += [
        Problem(file, find("annotations", number), message, rule)
        for number, message, rule in content.problems
    ]
    return Source(list(images), lambda _: file, read, tuple(problems), file, extras)


def read_ids(
    root: Path, entry: str, names: tuple[str, ...]
) -> tuple[dict[Path, int | str], dict[int, int | None]]:
    """Return image → its id, and every category's id → its class, None where it is none.

    Raises:
        DataError: As `open_entry` does.
    """
    file = json_of(root / entry)
    content = read_file(file)
    classes, _ = _classes(file, content, names)
    images = dict(zip(_paths(root, file, content), content.ids, strict=True))
    return images, {number: classes.get(number) for number in content.categories}


def list_images(root: Path, entry: str) -> list[Path]:
    """Return the images that a JSON lists. Raises DataError as `open_entry` does."""
    file = json_of(root / entry)
    return list(dict.fromkeys(_paths(root, file, read_file(file))))


def _paths(root: Path, file: Path, content: CocoFile) -> list[Path]:
    folder = image_folder(root, file, content)
    return [
        confine(root, os.path.join(folder, name), f"{file}: images: {number}")  # noqa: PTH118
        for number, (name, _) in enumerate(content.images, start=1)
    ]


def class_names(file: Path) -> tuple[str, ...]:
    """Return the names of a JSON's categories by rising id."""
    return tuple(name for _, name in sorted(read_file(file).categories.items()))


def read_file(file: Path) -> CocoFile:
    """Return a JSON's content; the last few are kept, until they change on the disk.

    Raises:
        DataError: The file is missing or no COCO JSON; names the file.
    """
    try:
        state = file.stat()
    except OSError as error:
        raise DataError(f"{file}: no such file or folder.") from error
    return _read(file, state.st_size, state.st_mtime_ns, state.st_ino)


@lru_cache(maxsize=FILES_KEPT)
def _read(file: Path, _size: int, _changed: int, _inode: int) -> CocoFile:
    try:
        return parse(file)
    except DataError as error:
        raise DataError(f"{file}: {error}. Give COCO's instances JSON.") from error


def _classes(
    file: Path, content: CocoFile, names: tuple[str, ...]
) -> tuple[dict[int, int], list[Problem]]:
    """Return category id → class, and what there is to say about it."""
    categories = sorted(content.categories.items())
    known = {number: names.index(name) for number, name in categories if name in names}
    if known or not categories:
        return known, []
    if len(categories) != len(names):
        shown = printable(", ".join(name for _, name in categories[:5]))
        raise DataError(
            f"{file}: none of its {len(categories)} categories ({shown} …) is among the data "
            f"set's {len(names)} names. Write the categories' names into `names`."
        )
    message = (
        f"no category is called like a class: categories by rising id are taken for the classes, "
        f"'{categories[0][1]}' for '{names[0]}' and so on"
    )
    return {number: place for place, (number, _) in enumerate(categories)}, [
        Problem(file, None, message, "categories-by-order")
    ]


def image_folder(root: Path, file: Path, content: CocoFile) -> Path:
    """Return the folder that `file_name`s are relative to: the first place where images are.

    Raises:
        DataError: None of the usual places holds one of some images spread over the list.
    """
    stem = file.stem.removeprefix("instances_")
    parent = file.parent
    places = [
        parent, root / "images" / stem, root / stem, root / "images", root,
        parent.parent / "images" / stem, parent.parent / stem, parent.parent / "images",
        parent.parent,
    ]  # fmt: skip
    inside = [place for place in dict.fromkeys(places) if place.is_relative_to(root)]
    step = -(-len(content.images) // TRIED_IMAGES) or 1
    some = [name for name, _ in content.images[::step]]  # all over: the first may be missing
    for place in inside:
        if any(os.path.exists(place / name) for name in some):  # noqa: PTH110 - never raises
            return place
    tried = ", ".join(str(place / some[0]) for place in inside) if some else "no image listed"
    raise DataError(
        f"{file}: its images were not found; tried {printable(tried)}. "
        "Set 'path' to the folder that holds both, with the images in images/ or beside the JSON."
    )
