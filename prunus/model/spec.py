"""`ArchSpec`: an architecture as rows in the official YAML format, checked, with no code in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from prunus.core.errors import ModelError, suggest
from prunus.core.files import read_yaml
from prunus.model.activations import ACTIVATIONS, DEFAULT_ACTIVATION, activation_name

Argument = int | float | bool | str | None | list[int] | list[float]
ARCH_SUFFIX = ".yaml"
MAX_REPEATS = 1000


@dataclass(frozen=True)
class Row:
    """One row of an architecture: `[from, repeats, block, arguments]`.

    Attributes:
        sources: Row numbers whose outputs it reads; negative ones count back from this row.
        repeats: How often the block repeats, before the depth multiple; 0 where all of them were
            removed, which only some blocks allow (the family says which).
        block: Name in the family's table of blocks.
        arguments: As in the YAML, before the width multiple.
    """

    sources: tuple[int, ...]
    repeats: int
    block: str
    arguments: tuple[Argument, ...]


@dataclass(frozen=True)
class ArchSpec:
    """An architecture, before it is given classes.

    Attributes:
        family: Name in `model.families.FAMILIES`.
        rows: Backbone, then neck and head; the row number is the module number.
        backbone_rows: How many of the rows are backbone.
        anchors_px: Per level (fine to coarse), (width, height) of each anchor in pixels.
        depth_multiple: Factor for the repeats.
        width_multiple: Factor for the channels.
        activation: Name in `model.activations.ACTIVATIONS` of what convolution blocks end in.
    """

    family: str
    rows: tuple[Row, ...]
    backbone_rows: int
    anchors_px: tuple[tuple[tuple[float, float], ...], ...]
    depth_multiple: float
    width_multiple: float
    activation: str = DEFAULT_ACTIVATION

    def with_repeats(self, repeats: Sequence[int]) -> "ArchSpec":
        """Return the same rows with exactly these repeats, and a depth multiple of 1.

        The multiple rounds, so that not every count can be said under another one.

        Args:
            repeats: One number a row, as built.
        """
        rows = tuple(
            replace(row, repeats=count) for row, count in zip(self.rows, repeats, strict=True)
        )
        return replace(self, rows=rows, depth_multiple=1.0)

    def to_mapping(self) -> dict[str, Any]:
        """Return the architecture in the official YAML's form; `arch_from_mapping` reads it."""
        rows = [
            [_plain(row.sources), row.repeats, row.block, list(row.arguments)] for row in self.rows
        ]
        own = self.activation != DEFAULT_ACTIVATION  # files of SiLU detectors say nothing of it
        return {
            "family": self.family,
            **({"activation": ACTIVATIONS[self.activation].spelling} if own else {}),
            "depth_multiple": self.depth_multiple,
            "width_multiple": self.width_multiple,
            "anchors": [[side for anchor in level for side in anchor] for level in self.anchors_px],
            "backbone": rows[: self.backbone_rows],
            "head": rows[self.backbone_rows :],
        }


def arch_names() -> list[str]:
    """Return the names of the architectures that ship with the package."""
    folder = resources.files("prunus.model") / "archs"
    return sorted(
        entry.name.removesuffix(ARCH_SUFFIX)
        for entry in folder.iterdir()
        if entry.name.endswith(ARCH_SUFFIX)
    )


def read_arch(name_or_path: str | Path) -> ArchSpec:
    """Read a shipped architecture by name (`yolov5n` … `yolov5x6`), or a YAML file.

    Raises:
        ModelError: No such architecture, or a row is wrong.
    """
    name = str(name_or_path)
    shipped = name.removesuffix(ARCH_SUFFIX)
    if shipped in arch_names():
        text = (resources.files("prunus.model") / "archs" / f"{shipped}{ARCH_SUFFIX}").read_text(
            "utf-8"
        )
        return arch_from_mapping(yaml.safe_load(text), shipped)
    if Path(name).is_file():
        return arch_from_mapping(read_yaml(Path(name)), name)
    raise ModelError(
        f"{name}: no such architecture.{suggest(shipped, arch_names())} "
        f"Give a YAML file or one of {', '.join(arch_names())}."
    )


def arch_from_mapping(content: object, where: str) -> ArchSpec:
    """Check the official YAML's keys and rows and return them as an `ArchSpec`.

    Args:
        content: What was read: a mapping with anchors, backbone, head, the two multiples, and an
            activation if it is not SiLU.
        where: File or architecture name, for the errors.

    Raises:
        ModelError: A key is missing, a row has the wrong form, or the activation is unknown.
    """
    if not isinstance(content, Mapping):
        raise ModelError(
            f"{where}: not an architecture: expected a mapping with backbone and head."
        )
    missing = [key for key in ("anchors", "backbone", "head") if key not in content]
    if missing:
        raise ModelError(f"{where}: the architecture lacks {', '.join(missing)}.")
    backbone = [
        _row(raw, i, where) for i, raw in enumerate(_list(content["backbone"], "backbone", where))
    ]
    head = [
        _row(raw, i, where)
        for i, raw in enumerate(_list(content["head"], "head", where), start=len(backbone))
    ]
    rows = (*backbone, *head)
    levels = len(rows[-1].sources)
    return ArchSpec(
        family=str(content.get("family", "yolov5")),
        rows=rows,
        backbone_rows=len(backbone),
        anchors_px=_anchors(content["anchors"], levels, where),
        depth_multiple=_number(content.get("depth_multiple", 1.0), "depth_multiple", where),
        width_multiple=_number(content.get("width_multiple", 1.0), "width_multiple", where),
        activation=_activation(content.get("activation"), where),
    )


def _activation(raw: object, where: str) -> str:
    return DEFAULT_ACTIVATION if raw is None else activation_name(raw, where)


def _row(raw: object, number: int, where: str) -> Row:
    if not isinstance(raw, Sequence) or isinstance(raw, str) or len(raw) != 4:
        raise ModelError(
            f"{where}: row {number}: expected [from, repeats, block, arguments], got {raw!r}."
        )
    source, repeats, block, arguments = raw
    sources = (
        tuple(source) if isinstance(source, Sequence) and not isinstance(source, str) else (source,)
    )
    if not sources or not all(isinstance(s, int) and -number - 1 <= s < number for s in sources):
        raise ModelError(f"{where}: row {number}: 'from' must name earlier rows, got {source!r}.")
    if not isinstance(repeats, int) or isinstance(repeats, bool) or not 0 <= repeats <= MAX_REPEATS:
        raise ModelError(
            f"{where}: row {number}: repeats must be a whole number from 0 to {MAX_REPEATS}, got "
            f"{repeats!r}."
        )
    if (
        not isinstance(block, str)
        or not isinstance(arguments, Sequence)
        or isinstance(arguments, str)
    ):
        raise ModelError(f"{where}: row {number}: expected a block's name and a list, got {raw!r}.")
    values = tuple(None if value == "None" else value for value in arguments)
    return Row(sources, repeats, block, values)


def _anchors(raw: object, levels: int, where: str) -> tuple[tuple[tuple[float, float], ...], ...]:
    if isinstance(raw, int):  # that many per level, to be fitted to the data: official placeholders
        return tuple(tuple((2.0 * i, 2.0 * i + 1) for i in range(raw)) for _ in range(levels))
    result = []
    for level in _list(raw, "anchors", where):
        flat = [_number(side, "anchors", where) for side in _list(level, "anchors", where)]
        if not flat or len(flat) % 2:
            raise ModelError(
                f"{where}: anchors: each level needs width, height pairs, got {level!r}."
            )
        result.append(tuple(zip(flat[::2], flat[1::2], strict=True)))
    if len(result) != levels or len({len(level) for level in result}) != 1:
        raise ModelError(
            f"{where}: anchors: the head reads {levels} levels, so it needs {levels} equally long "
            "rows."
        )
    return tuple(result)


def _list(value: object, key: str, where: str) -> Sequence[object]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise ModelError(f"{where}: {key}: expected a list, got {value!r}.")
    return value


def _number(value: object, key: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ModelError(f"{where}: {key}: expected a number, got {value!r}.")
    return float(value)


def _plain(sources: tuple[int, ...]) -> int | list[int]:
    return sources[0] if len(sources) == 1 else list(sources)
