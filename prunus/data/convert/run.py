"""From indices to a new folder: what will be lost, then images, labels and the YAML."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import yaml

from prunus.core.errors import DataError
from prunus.core.files import write_text
from prunus.data.convert import TARGETS, Target
from prunus.data.convert.extras import count_unsaid, read_extras
from prunus.data.convert.images import Names, bring
from prunus.data.image_index import ImageIndex
from prunus.data.rules import COSTLY
from prunus.data.spec import DataSpec

YAML = "data.yaml"
NOT_LEARNT = ("box-crowd", "box-rle")
"""Rules whose objects only COCO can hold."""


def losses(spec: DataSpec, indices: Mapping[str, ImageIndex], target: str) -> list[str]:
    """Return what the new data set will not hold, a line each; none when it will hold all."""
    lines = []
    for split, index in indices.items():
        dropped = [problem for problem in index.problems if problem.effect in COSTLY]
        counts = Counter(problem.effect for problem in dropped)
        lines += [f"{split}: {n} × {effect}, as training does" for effect, n in counts.items()]
        if target != "coco":
            lines += [f"{split}: {p}" for p in index.problems if p.rule in NOT_LEARNT]
        lost = TARGETS[target].loses(index, read_extras(spec, split, index, target))
        lost += count_unsaid(spec, split, index, target)
        lines += [f"{split}: {n} {words}" for n, words in lost if n]
    return lines


def write_data_set(
    spec: DataSpec, indices: Mapping[str, ImageIndex], target: str, folder: Path, *, copy: bool
) -> Path:
    """Write a data set in another format.

    Args:
        spec: The data set as it is.
        indices: Of each split to write.
        target: Key of `TARGETS`.
        folder: Where it goes.
        copy: Whether images are copied; else they are symbolic links, which break when the
            originals move.

    Returns:
        The new YAML.

    Raises:
        DataError: Two classes have one name, which this format cannot tell apart, images lie in
            the folder already, or the disk is full.
    """
    _refuse_old_images(TARGETS[target], indices, folder)
    if target != "yolo" and len(set(spec.names)) < len(spec.names):
        raise DataError(
            f"{spec.path}: names: two classes are called alike; {target} knows classes by name. "
            "Rename one of them."
        )
    try:
        _write(spec, target, indices, folder, copy=copy)
    except OSError as error:
        raise DataError(
            f"{error.filename}: not written: {error.strerror or error}. Free space, or link to the "
            "images with --no-copy."
        ) from error
    content = {
        "path": ".",
        "format": target,
        **{split: TARGETS[target].entry(split) for split in indices},
        "names": dict(enumerate(spec.names)),
    }
    write_text(folder / YAML, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return folder / YAML


def _refuse_old_images(kind: Target, indices: Mapping[str, ImageIndex], folder: Path) -> None:
    """Refuse a folder whose images new labels would be mixed with."""
    for split in indices:
        home = folder / kind.image_folder(split)
        if home.exists():
            raise DataError(
                f"{home}: is there already, whole or half written. Remove it, or choose another "
                "folder with --out."
            )


def _write(
    spec: DataSpec, target: str, indices: Mapping[str, ImageIndex], folder: Path, *, copy: bool
) -> None:
    kind = TARGETS[target]
    names: dict[str, Names] = {}
    for split, index in indices.items():
        home = kind.image_folder(split)
        given = names.setdefault(home, Names())
        images = [given.place(path) for path in index.paths]
        bring(images, folder / home, copy=copy, title=f"{'copying' if copy else 'linking'} {split}")
        kind.write(folder, split, index, images, read_extras(spec, split, index, target))
