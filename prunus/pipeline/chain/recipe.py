"""A chain as a YAML: read, and checked as a whole before its first second.

data: bccd.yaml                     # settings that every stage gets whose verb knows them
image_size: 320
stages:
  - {stage: adapt, verb: train, weights: yolov5n.pt, epochs: 100}
  - {stage: cut, verb: prune, weights: "${adapt.best}", flops: 0.5}
  - {stage: mend, verb: train, weights: "${cut.weights}", teacher: "${adapt.best}"}
  - {stage: ship, verb: export, weights: "${mend.best}"}
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunus.core.config import parse
from prunus.core.errors import ConfigError, suggest
from prunus.core.files import read_yaml
from prunus.core.runs import RunSettings
from prunus.pipeline.chain.chain import STAGES
from prunus.pipeline.chain.stage import (
    REFERENCE,
    Stage,
    check_name,
    check_references,
    known_settings,
)
from prunus.pipeline.chain.verbs import VERBS, find_verb

PLACES = ("out", "project", "name", "exist_ok", "resume")
"""Settings that say where a stage writes, which the chain decides."""


@dataclass(frozen=True)
class Recipe:
    """A chain that has been checked.

    Attributes:
        shared: Settings that every stage gets whose verb knows them.
        stages: In their order.
    """

    shared: Mapping[str, Any]
    stages: tuple[Stage, ...]


def read_recipe(path: Path) -> Recipe:
    """Read a recipe, and check every stage's settings, references and files.

    Raises:
        ConfigError: Something is wrong; the message names the file and the stage.
    """
    content = read_yaml(path)
    entries = content.get(STAGES) if isinstance(content, Mapping) else None
    if not isinstance(content, Mapping) or not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path}: expected a list `{STAGES}:`, each with stage, verb, settings.")
    shared = {str(key): value for key, value in content.items() if key != STAGES}
    stages: dict[str, Stage] = {}
    try:
        for number, entry in enumerate(entries, start=1):
            stage = _stage(entry, number)
            if stage.name in stages:
                raise ConfigError(f"stage {number}: '{stage.name}' is there already. Rename it.")
            check_references(stage, stages)
            _check_settings(stage, shared)
            stages[stage.name] = stage
        _check_shared(shared, list(stages.values()))
    except ConfigError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from (
            error
        )
    return Recipe(shared, tuple(stages.values()))


def _stage(entry: object, number: int) -> Stage:
    where = f"stage {number}"
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where}: expected `stage:`, `verb:` and settings, got {entry!r}.")
    settings = {str(key): value for key, value in entry.items()}
    name = check_name(settings.pop("stage", None), where)
    verb = str(settings.pop("verb", ""))
    find_verb(verb, f"stage {name}")
    return Stage(name, verb, settings)


def _check_settings(stage: Stage, shared: Mapping[str, Any]) -> None:
    """Parse a stage as its verb will, references standing for their files."""
    where = f"stage {stage.name}"
    for key in PLACES:
        if key in stage.settings:
            raise ConfigError(f"{where}: {key}: the chain decides where a stage writes. Remove it.")
    values = {**known_settings(shared, stage.verb), **stage.settings}
    settings = parse(VERBS[stage.verb].settings, values, where)
    for name, value in _files(settings):
        if not REFERENCE.search(str(value)) and not value.exists():
            raise ConfigError(f"{where}: {name}: {value}: no such file.")


def _files(settings: RunSettings) -> list[tuple[str, Path]]:
    """Return the files that a stage reads, with the names of their settings."""
    given = {name: getattr(settings, name) for name in type(settings).model_fields}
    return [
        (name, path)
        for name, value in given.items()
        if name not in PLACES and not name.endswith("_dir")
        for path in (value if isinstance(value, tuple) else (value,))
        if isinstance(path, Path)
    ]


def _check_shared(shared: Mapping[str, Any], stages: list[Stage]) -> None:
    """See that a setting of all stages is known to one at least."""
    known = {name for stage in stages for name in VERBS[stage.verb].settings.model_fields}
    for key in shared:
        if key in PLACES:
            raise ConfigError(f"{key}: the chain decides where a stage writes. Remove it.")
        if key not in known:
            raise ConfigError(f"{key}: no stage knows this setting.{suggest(key, known)}")
