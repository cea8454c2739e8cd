"""Which run of a chain `--resume` goes on with."""

from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

from pydantic import BeforeValidator

from prunus.core.config import flags_of, parse, setting
from prunus.core.errors import ConfigError
from prunus.core.files import read_yaml, write_text
from prunus.core.runs import (
    CONFIG,
    REPORT,
    Run,
    RunSettings,
    in_use,
    reopen,
    settings_text,
    start,
)

AUTO = Path("auto")


def _maybe_none(value: object) -> object:
    return None if value in ("", "None", "none") else value


class ChainSettings(RunSettings):
    """How a chain is begun, stopped and gone on with. The base of verbs that run one.

    Attributes:
        BUDGET: Names of settings that may be others when it goes on: they say how far it goes, and
            change nothing that is done.
    """

    BUDGET: ClassVar[tuple[str, ...]] = ()

    resume: Annotated[Path | None, BeforeValidator(_maybe_none)] = setting(
        None,
        "go on with the run in this folder, with its settings; without one, the newest unfinished",
        bare="auto",
    )
    until: str | None = setting(None, "stop after this stage; --resume goes on from there")
    redo_from: str | None = setting(
        None, "with --resume: run this stage and all after it anew", "--from"
    )


OWN = ("resume", "until", "redo_from")
C = TypeVar("C", bound=ChainSettings)


def open_run(verb: str, settings: C) -> tuple[Run, C]:
    """Start a run, or open again the one that `--resume` means.

    Returns:
        The run, and the settings that it has: its own ones where it goes on, but for the budget.

    Raises:
        ConfigError: There is nothing to go on with, or it was begun with other settings.
    """
    if settings.resume is None:
        if settings.redo_from is not None:
            raise ConfigError("--from: needs --resume, the run whose stages are run anew.")
        return start(verb, settings), settings
    folder = _folder(verb, settings)
    saved = read_yaml(folder / CONFIG) if (folder / CONFIG).is_file() else None
    if not isinstance(saved, dict):
        raise ConfigError(f"--resume: {folder} holds no run of prunus {verb}. Give another folder.")
    now = {name: getattr(settings, name) for name in OWN}
    before = parse(type(settings), {**saved, **now}, str(folder / CONFIG))
    more = _more(settings, before)
    merged = parse(type(settings), {**saved, **now, **more}, "--resume")
    run = reopen(verb, folder, merged)
    if more:
        lasting = merged.model_copy(update=dict.fromkeys(OWN))
        write_text(folder / CONFIG, settings_text(lasting))
    return run, merged


def _more(settings: C, before: C) -> dict[str, object]:
    """Return the budget that is given now.

    Raises:
        ConfigError: Something else is given, and was not so before.
    """
    given = settings.model_fields_set - {*OWN, *RunSettings.model_fields}
    other = [name for name in given if getattr(settings, name) != getattr(before, name)]
    fixed = sorted(set(other) - set(settings.BUDGET))
    if fixed:
        flag = flags_of(fixed[0], type(settings).model_fields[fixed[0]])[0]
        had = getattr(before, fixed[0])
        raise ConfigError(
            f"{flag}: the run that goes on was begun with {had!s}. Leave it out, or begin another."
        )
    return {name: getattr(settings, name) for name in other}


def _folder(verb: str, settings: ChainSettings) -> Path:
    assert settings.resume is not None
    if settings.resume != AUTO:
        return settings.resume
    if settings.out is not None:
        return settings.out
    parent = settings.project / verb
    begun = [
        folder
        for folder in parent.glob("*")
        if (folder / CONFIG).is_file() and not (folder / REPORT).is_file() and not in_use(folder)
    ]
    if not begun:
        raise ConfigError(f"--resume: nothing unfinished in {parent}. Give the folder of a run.")
    return max(begun, key=lambda folder: (folder / CONFIG).stat().st_mtime)
