"""The data YAML: where the images are, how they are split, and what the classes are called.

Keys: `path` (the data set's folder, relative to the YAML's own; default that folder), `train`,
`val`, `test` (each a folder, a .txt list, or several of these, below `path`), `names` (a list, or a
dict numbered from 0), and if wanted `nc` (must agree with `names`) and `format` (a key of FORMATS;
otherwise detected). Nothing in it is ever executed.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from prunus.core.console import log
from prunus.core.errors import ConfigError, DataError, printable, suggest
from prunus.core.files import read_yaml
from prunus.data.formats import FORMATS, Format, coco
from prunus.data.paths import confine
from prunus.data.shard import SUFFIX as SHARD
from prunus.data.yaml_guard import refuse_hostile_yaml

SPLITS = ("train", "val", "test")
KEYS = ("path", *SPLITS, "names", "nc", "format")
NEVER_RUN = "download"
LONGEST_QUOTE = 60
MAX_CLASSES = 20_000
"""Above ImageNet-21k's usual cut and LVIS's 1,203; a detector's head grows with every class."""


@dataclass(frozen=True)
class DataSpec:
    """What a data YAML says, checked.

    Attributes:
        path: The YAML file.
        root: The data set's folder, absolute.
        names: Class names, by index.
        format: Key of `prunus.data.formats.FORMATS`, for folders and lists; the entries that are
            JSON or tar files are COCO's and shards whatever it says.
        splits: Split name to its folders or lists, relative to `root`.
    """

    path: Path
    root: Path
    names: tuple[str, ...]
    format: str
    splits: Mapping[str, tuple[str, ...]]

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the read-only mapping as a dict, for workers that are spawned."""
        return _rebuild, (self.path, self.root, self.names, self.format, dict(self.splits))

    def entries(self, split: str) -> tuple[str, ...]:
        """Return the folders and lists of a split.

        Raises:
            DataError: The data set has no such split.
        """
        if split not in self.splits:
            raise DataError(
                f"{self.path}: no split '{split}'; there is {', '.join(self.splits)}."
                f"{suggest(split, self.splits)}"
            )
        return self.splits[split]

    def format_of(self, entry: str) -> Format:
        """Return how one entry of a split is read: a file's ending decides before `format`."""
        return FORMATS[_by_ending(entry) or self.format]


def _by_ending(entry: str) -> str | None:
    by_ending = {coco.SUFFIX: "coco", SHARD: "shards"}
    return by_ending.get(Path(entry.lower()).suffix)


def _rebuild(
    path: Path,
    root: Path,
    names: tuple[str, ...],
    format_name: str,
    splits: dict[str, tuple[str, ...]],
) -> DataSpec:
    return DataSpec(path, root, names, format_name, MappingProxyType(splits))


def read_data(path: Path) -> DataSpec:
    """Read and check a data YAML. Images and labels are not looked at yet.

    Raises:
        DataError: The file is missing or no YAML, its folder is missing, or a key breaks a rule.
    """
    path = Path(path)
    content = _mapping(path)
    _report_keys(path, content)
    root = _root(path, content.get("path"))
    splits = {
        split: _entries(path, root, split, content[split]) for split in SPLITS if content.get(split)
    }
    if not splits:
        raise DataError(
            f"{path}: no split. Give 'train' and 'val': a folder, a .txt list or a COCO .json "
            f"below {root}."
        )
    if "names" not in content:
        content = {**content, **_names_of_coco(root, splits)}
    names = _names(path, content)
    return DataSpec(
        path, root, names, _format(path, root, content, splits), MappingProxyType(splits)
    )


def _mapping(path: Path) -> dict[object, object]:
    if path.is_dir():
        raise DataError(f"{path}: a folder. Give the data set's YAML file.")
    refuse_hostile_yaml(path)
    try:
        content = read_yaml(path)
    except ConfigError as error:
        raise DataError(str(error)) from error
    if not isinstance(content, dict):
        raise DataError(
            f"{path}: holds no keys. A data YAML has at least 'train', 'val' and 'names'."
        )
    return content


def _report_keys(path: Path, content: dict[object, object]) -> None:
    """Refuse what looks like a slip of the pen; name what is ignored."""
    for key in content:
        word = printable(str(key))
        if word in KEYS:
            continue
        if word == NEVER_RUN:
            log.info(
                "%s: '%s' is ignored: Prunus never executes what a data set asks for.", path, word
            )
        elif hint := suggest(word, [known for known in KEYS if known not in content]):
            raise DataError(f"{path}: unknown key '{word}'.{hint}")
        else:
            log.warning(
                "%s: unknown key '%s' is ignored; known are %s.", path, word, ", ".join(KEYS)
            )


def _root(path: Path, value: object) -> Path:
    if not (value is None or isinstance(value, str)):
        raise DataError(f"{path}: path: must be a folder's name, got {_short(value)}.")
    root = Path(os.path.abspath(path.parent / (value or "")))  # noqa: PTH100 - keeps links
    if not os.path.isdir(root):  # noqa: PTH112 - Path.is_dir raises for names that are too long
        raise DataError(
            f"{path}: path: '{printable(value or '')}' is no folder; tried {printable(str(root))}. "
            "It is relative to the YAML's own folder."
        )
    return root


def _names_of_coco(root: Path, splits: Mapping[str, tuple[str, ...]]) -> dict[object, object]:
    """Return `names` from the first COCO JSON, if there is one."""
    for entry in (entry for entries in splits.values() for entry in entries):
        if coco.recognises(root, entry):
            return {"names": list(coco.class_names(coco.json_of(root / entry)))}
    return {}


def _names(path: Path, content: dict[object, object]) -> tuple[str, ...]:
    value = content.get("names")
    if isinstance(value, dict):
        if set(value) != set(range(len(value))):
            raise DataError(
                f"{path}: names: numbers must run from 0 to {len(value) - 1} without gaps."
            )
        value = [value[number] for number in range(len(value))]
    if not isinstance(value, list) or not value:
        raise DataError(
            f"{path}: names: missing. Give the class names as a list, or as 0: name, 1: name."
        )
    if len(value) > MAX_CLASSES:
        raise DataError(
            f"{path}: names: {len(value)} classes; at most {MAX_CLASSES} are supported."
        )
    for number, name in enumerate(value):
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise DataError(
                f"{path}: names: {number} is {_short(name)}, not text. Put it in quotes."
            )
        if not str(name).strip() or not str(name).isprintable():
            raise DataError(
                f"{path}: names: {number} is empty or holds control characters: {name!r}."
            )
    nc = content.get("nc", len(value))
    if nc != len(value):
        raise DataError(
            f"{path}: nc: {_short(nc)}, but there are {len(value)} names. Leave out nc."
        )
    return tuple(str(name) for name in value)


def _entries(path: Path, root: Path, split: str, value: object) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    entries = []
    for entry in values:
        if not isinstance(entry, str) or not entry.strip():
            raise DataError(
                f"{path}: {split}: must be a folder, a .txt list, a COCO .json or .tar shards, "
                f"or several of these, got {_short(entry)}."
            )
        entries.append(str(confine(root, entry, f"{path}: {split}").relative_to(root)))
    return tuple(entries)


def _short(value: object) -> str:
    """Describe a value in a few words; nested YAML aliases can grow to gigabytes when printed."""
    if isinstance(value, list | dict):
        return f"a {type(value).__name__} of {len(value)}"
    text = repr(value)
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…"


def _format(
    path: Path, root: Path, content: dict[object, object], splits: Mapping[str, tuple[str, ...]]
) -> str:
    asked = content.get("format")
    if asked is None:
        every = [entry for entries in splits.values() for entry in entries]
        first = next((entry for entry in every if not _by_ending(entry)), every[0])
        return next(name for name, kind in FORMATS.items() if kind.recognises(root, first))
    if not isinstance(asked, str) or asked not in FORMATS:
        hint = suggest(str(asked), FORMATS)
        raise DataError(
            f"{path}: format: no format {_short(asked)}; there is {', '.join(FORMATS)}.{hint}"
        )
    return asked
