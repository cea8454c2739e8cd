"""Labels without an image, and images without a label file."""

from collections.abc import Iterable
from pathlib import Path

from prunus.data.files import exists
from prunus.data.paths import IMAGE_SUFFIXES
from prunus.data.problems import Problem
from prunus.data.spec import DataSpec

OTHER_TEXTS = ("classes", "notes", "readme", "labels")
"""Stems of files that labelling tools lay among the labels."""


def strays(spec: DataSpec, split: str) -> list[Problem]:
    """Name the images of a split that have no label file, and label files that have no image."""
    missing: list[Problem] = []
    folders: dict[Path, set[Path]] = {}
    suffix = ""
    for entry in spec.entries(split):
        source = spec.format_of(entry).open(spec.root, entry, spec.names)
        if source.one_file is not None:
            continue
        for image in source.images:
            label = source.label_file(image)
            suffix = label.suffix
            if label.parent != image.parent:
                folders.setdefault(label.parent, set()).add(image.parent)
            if exists(image) and not exists(label):
                message = f"no label file {label.name}: background"
                missing.append(Problem(image, None, message, "label-missing"))
    return missing + _orphans(folders, suffix)


def _orphans(folders: dict[Path, set[Path]], suffix: str) -> list[Problem]:
    """Name the label files in folders whose image folders hold no image of that stem."""
    found = []
    for labels, images in sorted(folders.items()):
        if not labels.is_dir():
            continue
        stems = set(_stems(images))
        found += [
            Problem(label, None, "no image of this name: ignored", "label-orphan")
            for label in sorted(labels.glob(f"*{suffix}"))
            if label.stem not in stems and label.stem.lower() not in OTHER_TEXTS
        ]
    return found


def _stems(folders: Iterable[Path]) -> Iterable[str]:
    for folder in folders:
        if folder.is_dir():
            yield from (
                file.stem for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES
            )
