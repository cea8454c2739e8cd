"""One link of a chain: a verb, its settings, and the files of earlier links that it takes.

A setting names such a file as `${adapt.best}`: the stage, and the place in its report. The stage's
folder is `${adapt.folder}`.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from prunus.core.errors import ConfigError, suggest
from prunus.core.runs import finite
from prunus.pipeline.chain.verbs import VERBS, find_verb

REFERENCE = re.compile(r"\$\{([^.{}]+)\.([^{}]+)\}")
FOLDER = "folder"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Stage:
    """What is to be done.

    Attributes:
        name: Unique in its chain.
        verb: Name in VERBS.
        settings: Of the verb, besides those that all stages share; references still in them.
    """

    name: str
    verb: str
    settings: Mapping[str, Any]

    def to_mapping(self) -> dict[str, Any]:
        """Return JSON's types, as a recipe holds them."""
        plain = finite({key: value for key, value in self.settings.items() if value is not None})
        assert isinstance(plain, dict)
        return {"stage": self.name, "verb": self.verb, **plain}

    def is_what(self, recorded: Mapping[str, Any]) -> bool:
        """Return whether a recipe's entry says the same; what is a default may be said or not."""
        own = self.to_mapping()
        if (recorded.get("stage"), recorded.get("verb")) != (self.name, self.verb):
            return False
        fields = VERBS[self.verb].settings.model_fields
        usual = finite({name: field.default for name, field in fields.items()})
        assert isinstance(usual, dict)
        return all(
            own.get(name, usual.get(name)) == recorded.get(name, usual.get(name))
            for name in {*own, *recorded}
        )


@dataclass(frozen=True)
class Done:
    """A stage that has run.

    Attributes:
        stage: What was to be done.
        folder: Where.
        report: What it found.
    """

    stage: Stage
    folder: Path
    report: Mapping[str, Any]

    def file(self, place: str) -> str:
        """Return the reference to one of its files, for a later stage's settings."""
        return f"${{{self.stage.name}.{place}}}"

    @property
    def main(self) -> str:
        """Return the place of the file that a later stage goes on from: its verb's first."""
        return find_verb(self.stage.verb, self.stage.name).files[0]

    def path(self, place: str) -> Path:
        """Return where one of its files lies now, also when the run has been moved.

        Args:
            place: Of the file in the report, with dots between the levels; or FOLDER.

        Raises:
            ConfigError: The report names no such file.
        """
        if place == FOLDER:
            return self.folder
        value: Any = self.report
        for key in place.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if not isinstance(value, str):
            raise ConfigError(
                f"stage {self.stage.name}: its report names no {place}. It may not have been asked "
                "for."
            )
        recorded = Path(str(self.report["settings"]["out"]))
        return self.folder / Path(value).relative_to(recorded)


def stage_lines(stages: Iterable[Stage]) -> str:
    """Return a recipe's stages as YAML, a line each."""
    dumped = (
        yaml.safe_dump(
            stage.to_mapping(),
            default_flow_style=True,
            sort_keys=False,
            allow_unicode=True,
            width=math.inf,
        )
        for stage in stages
    )
    return "".join(f"  - {line}" for line in dumped)


def resolved(settings: Mapping[str, Any], done: Mapping[str, Done]) -> dict[str, Any]:
    """Return the settings with the files that their references name."""

    def put_in(value: Any) -> Any:
        if isinstance(value, str):
            return REFERENCE.sub(lambda found: str(done[found[1]].path(found[2])), value)
        if isinstance(value, list | tuple):
            return [put_in(item) for item in value]
        return value

    return {key: put_in(value) for key, value in settings.items()}


def check_references(stage: Stage, earlier: Mapping[str, Stage]) -> None:
    """See that every reference names a file of an earlier stage.

    Raises:
        ConfigError: One does not.
    """
    for name, place in _references(list(stage.settings.values())):
        where = f"stage {stage.name}: ${{{name}.{place}}}"
        if name not in earlier:
            raise ConfigError(f"{where}: no earlier stage '{name}'.{suggest(name, earlier)}")
        files = (*find_verb(earlier[name].verb, where).files, FOLDER)
        if place not in files:
            verb = earlier[name].verb
            raise ConfigError(f"{where}: {verb} has no file '{place}', but {', '.join(files)}.")


def check_name(name: object, where: str) -> str:
    """Return a stage's name, which becomes a folder's.

    Raises:
        ConfigError: It has other characters than letters, digits, - and _.
    """
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise ConfigError(
            f"{where}: a stage's name is letters, digits, - and _, got {name!r}. Rename it."
        )
    return name


def known_settings(values: Mapping[str, Any], verb: str) -> dict[str, Any]:
    """Return those of the values that a verb knows; none where there is no such verb."""
    fields = VERBS[verb].settings.model_fields if verb in VERBS else {}
    return {key: value for key, value in values.items() if key in fields}


def _references(value: Any) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return REFERENCE.findall(value)
    if isinstance(value, list | tuple):
        return [found for item in value for found in _references(item)]
    return []
