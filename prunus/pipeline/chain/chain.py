"""`Chain`: runs stages, and leaves out what an earlier run in the same folder has finished.

The run's folder holds RECIPE, the stages so far, and a folder for each. A chain that is begun again
asks for the same stages in the same order: those that RECIPE knows and that have a report are read,
one that was killed goes on or begins anew, and the rest runs as the first time.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from prunus.core.config import parse
from prunus.core.console import log
from prunus.core.errors import ConfigError, suggest
from prunus.core.files import read_yaml, sha256, write_text
from prunus.core.runs import REPORT, Run, finite
from prunus.pipeline.chain.stage import (
    Done,
    Stage,
    check_references,
    known_settings,
    resolved,
    stage_lines,
)
from prunus.pipeline.chain.verbs import find_verb

RECIPE = "recipe.yaml"
STAGES = "stages"


class Reached(Exception):  # noqa: N818  no error: the chain went as far as it was asked to
    """The stage of `--until` is done."""


class Chain:
    """A run's stages.

    Attributes:
        done: What has run, or was found finished, by name and in order.
    """

    def __init__(
        self,
        run: Run,
        shared: Mapping[str, Any],
        *,
        redo_from: str | None = None,
        until: str | None = None,
    ) -> None:
        """Begin, or go on where the run's folder has stages already.

        Args:
            run: In whose folder.
            shared: Settings that every stage gets whose verb knows them.
            redo_from: Name of the first stage to run anew, whatever is there.
            until: Name of the stage to stop after.

        Raises:
            ConfigError: RECIPE is damaged, or there is no stage to redo.
        """
        self.done: dict[str, Done] = {}
        self._run, self._shared = run, shared
        self._redo_from, self._until = redo_from, until
        self._before = _recorded(run.path(RECIPE))
        self._as_before = True
        names = [str(entry["stage"]) for entry in self._before]
        if redo_from is not None and redo_from not in names:
            raise ConfigError(
                f"--from: {run.folder} has no stage '{redo_from}'.{suggest(redo_from, names)} It "
                f"has {', '.join(names) or 'none'}."
            )

    def do(self, name: str, verb: str, /, **settings: Any) -> Done:
        """Run a stage, or read its report when it has run before.

        Args:
            name: Of the stage, unique in the chain.
            verb: What runs.
            settings: Of the verb, besides the shared ones; None for its default.

        Raises:
            Reached: It is the one to stop after, and done.
            PrunusError: What the verb raises.
        """
        stage = Stage(name, verb, {key: v for key, v in settings.items() if v is not None})
        check_references(stage, {key: done.stage for key, done in self.done.items()})
        number = len(self.done) + 1
        folder = self._run.path(f"{number:02d}-{name}")
        entry = self._before[number - 1] if number <= len(self._before) else None
        whole = replace(stage, settings={**known_settings(self._shared, verb), **stage.settings})
        self._as_before &= entry is not None and whole.is_what(entry) and name != self._redo_from
        self.done[name] = Done(stage, folder, self._report(stage, folder))
        if name == self._until:
            raise Reached(name)
        return self.done[name]

    def recipe(self, *more: Stage) -> str:
        """Return what has run, and more, as the YAML from which `prunus run` does the same."""
        shared = finite(self._shared)
        stages = [*(done.stage for done in self.done.values()), *more]
        head = yaml.safe_dump(shared, sort_keys=False, allow_unicode=True) if shared else ""
        return f"{head}{STAGES}:\n{stage_lines(stages)}"

    def facts(self) -> list[dict[str, Any]]:
        """Return what a report says of the stages."""
        return [
            {
                "folder": done.folder.name,
                "name": name,
                "verb": done.stage.verb,
                "seconds": done.report["seconds"],
            }
            for name, done in self.done.items()
        ]

    def _report(self, stage: Stage, folder: Path) -> Mapping[str, Any]:
        verb = find_verb(stage.verb, f"stage {stage.name}")
        values = resolved(stage.settings, self.done)
        shared = known_settings(self._shared, stage.verb)
        found = _finished(folder) if self._as_before else None
        if found is not None:
            log.info("== %s: done before", folder.name)
            return found
        self._write_down(stage)
        log.info("\n== %s", folder.name)
        goes_on = self._as_before and verb.can_go_on(folder)
        if not goes_on:
            _make_room(folder, keep=not self._as_before)
        self._as_before = False  # whatever follows here was made from something else
        place = {"out": folder, **({"resume": folder} if goes_on else {})}
        settings = parse(verb.settings, {**shared, **values, **place}, f"stage {stage.name}")
        return verb(settings)

    def _write_down(self, stage: Stage) -> None:
        """Record the stage before it begins, and forget what was recorded after it.

        A run that was finished is not any more: its report goes.
        """
        self._run.path(REPORT).unlink(missing_ok=True)
        write_text(self._run.path(RECIPE), self.recipe(stage))


def _recorded(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a recipe's stages, each with what it took of the shared settings."""
    if not path.is_file():
        return []
    read = read_yaml(path)
    content: dict[str, Any] = read if isinstance(read, dict) else {}
    stages = content.get(STAGES)
    if not isinstance(stages, list) or not all(
        isinstance(entry, dict) and "stage" in entry for entry in stages
    ):
        raise ConfigError(f"{path}: damaged: no list of stages. Begin in another folder.")
    shared = {key: value for key, value in content.items() if key != STAGES}
    return [{**known_settings(shared, str(entry.get("verb"))), **entry} for entry in stages]


def _finished(folder: Path) -> dict[str, Any] | None:
    """Return the report of a stage whose inputs are still what they were; else None."""
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        inputs = [(Path(one["path"]), str(one["sha256"])) for one in report["inputs"].values()]
        settings = dict(report["settings"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    changed = [path for path, digest in inputs if path.is_file() and sha256(path) != digest]
    if changed:
        log.info("%s: %s has changed since", folder.name, changed[0])
    return None if changed or not settings else report


def _make_room(folder: Path, *, keep: bool) -> None:
    """Take away what a stage left that was killed; put a finished one of other settings aside."""
    if not folder.exists():
        return
    if not keep or not (folder / REPORT).is_file():
        shutil.rmtree(folder)
        return
    number = 1
    while (aside := folder.with_name(f"{folder.name}.old{number}")).exists():
        number += 1
    folder.rename(aside)
    log.info("%s: set aside as %s", folder.name, aside.name)
