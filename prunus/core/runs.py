"""Run folders: a verb's settings, log and `report.json`, never over another run's."""

import logging
import math
import sys
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from prunus.core.config import Settings, setting
from prunus.core.console import log
from prunus.core.errors import ConfigError, PrunusError
from prunus.core.files import remove_leftovers, sha256, write_json, write_text
from prunus.core.machine import machine_facts, package_versions
from prunus.core.run_folder import CONFIG as CONFIG
from prunus.core.run_folder import LOG as LOG
from prunus.core.run_folder import Place, exactly, next_free
from prunus.core.run_folder import only_begun as only_begun

SCHEMA_VERSION = 1
REPORT = "report.json"


class RunSettings(Settings):
    """Where a verb writes. The base of each verb's settings."""

    project: Path = setting(Path("runs"), "folder of all runs; a run is PROJECT/<verb>/NAME")
    name: str = setting("exp", "name of the run; a number is added when it is taken")
    exist_ok: bool = setting(False, "write into an existing run folder")
    out: Path | None = setting(None, "write exactly here instead of PROJECT/<verb>/NAME")


@dataclass
class Run:
    """One verb at work in its folder: `with start(...) as run`, and `run.finish()` at the end.

    Attributes:
        verb: What runs.
        folder: Where it writes.
        report: What `finish` will add to the fixed keys of `report.json`.
    """

    verb: str
    folder: Path
    settings: Mapping[str, object]
    report: dict[str, object] = field(default_factory=dict)
    _inputs: dict[str, Path] = field(default_factory=dict)
    _started: float = field(default_factory=time.perf_counter)
    _handler: logging.Handler | None = None
    _place: Place | None = None
    _drafts: Collection[str] = ()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        ended_by_user = kind is not None and issubclass(kind, PrunusError | KeyboardInterrupt)
        if ended_by_user and self._place is not None:  # the log of a bug of ours is kept
            self._place.leave_as_found(self._drafts)

    def path(self, name: str) -> Path:
        return self.folder / name

    def add_input(self, role: str, path: Path) -> None:
        """Name a file that the run read; its SHA-256 goes into the report."""
        self._inputs[role] = path

    def finish(self) -> dict[str, object]:
        """Write `report.json`, end the log and return the report."""
        report = {
            "schema_version": SCHEMA_VERSION,
            "verb": self.verb,
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._started, 2),
            "inputs": {
                role: {"path": str(path), "sha256": sha256(path)}
                for role, path in self._inputs.items()
                if path.is_file()
            },
            "settings": self.settings,
            **self.report,
            "machine": machine_facts(),
            "packages": package_versions(),
        }
        tidy = finite(report)
        write_json(self.path(REPORT), tidy)
        self.close()
        return tidy  # type: ignore[return-value]

    def close(self) -> None:
        """End the log file, also of a run that failed."""
        if self._handler is not None:
            log.removeHandler(self._handler)
            self._handler.close()
            self._handler = None


def start(verb: str, settings: RunSettings, drafts: Collection[str] = ()) -> Run:
    """Make the run's folder, write the resolved settings into it and begin its log.

    A run that the user ends before it has written more than that, by an error or by Ctrl-C, leaves
    its folder as it found it.

    Args:
        verb: What runs.
        settings: How.
        drafts: Names of what the verb writes anew at each start, besides settings and log.

    Raises:
        ConfigError: The folder holds another run, or cannot be made.
    """
    text = settings_text(settings)
    place = _choose_place(verb, settings, text.encode(), drafts)
    write_text(place.folder / CONFIG, text)
    run = reopen(verb, place.folder, settings)
    run._place, run._drafts = place, drafts
    for name in (CONFIG, *drafts):
        remove_leftovers(run.path(name))
    return run


def settings_text(settings: RunSettings) -> str:
    """Return what a run's CONFIG holds: YAML, from which `parse` makes the same settings again."""
    import yaml  # late: 10 ms that --help need not pay

    plain = settings.model_dump(mode="json")
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def reopen(verb: str, folder: Path, settings: RunSettings) -> Run:
    """Go on with a run in its folder: its log grows, its report will be written anew.

    Raises:
        ConfigError: Another process is at work in the folder, or its log cannot be written.
    """
    run = Run(verb, folder, settings.model_dump(mode="json"))
    log.setLevel(logging.INFO)
    handler = _open_log(folder)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    run._handler = handler
    return run


def in_use(folder: Path) -> bool:
    """Return whether a process is at work in a run folder now."""
    try:
        with (folder / LOG).open("ab") as file:
            return not _lock(file)
    except OSError:
        return False


class _LogFile(logging.FileHandler):
    """A run's log. When it cannot be written, that is said once, and the run goes on."""

    _failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        problem = sys.exc_info()[1]
        if isinstance(problem, OSError):
            self._complain(problem)
        else:
            super().handleError(record)

    def close(self) -> None:
        try:
            super().close()
        except OSError as problem:
            self._complain(problem)

    def _complain(self, problem: OSError) -> None:
        if not self._failed:
            self._failed = True
            log.warning("%s: not written: %s", self.baseFilename, problem.strerror)


def _open_log(folder: Path) -> logging.FileHandler:
    """Open a run's log, and hold it for this process."""
    try:
        handler = _LogFile(folder / LOG, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{folder / LOG}: cannot be written: {error.strerror}. Choose another folder."
        ) from error
    if handler.stream is not None and not _lock(handler.stream):
        handler.close()
        raise ConfigError(
            f"{folder}: another process is at work in this run folder. Wait for it, or stop it."
        )
    return handler


def _lock(file: IO[Any]) -> bool:
    """Hold an open file until it is closed; return False when another process holds it.

    Where the system knows no such locks, nothing is held.
    """
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network drives have none
        return True
    return True


def finite(value: object) -> object:
    """Return `value` made of JSON's types, with NaN and infinities as None."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | int | bool) or value is None:
        return value
    with suppress(AttributeError, ValueError):
        return finite(value.item())  # type: ignore[attr-defined]  # numpy and torch scalars
    return str(value)


def _choose_place(
    verb: str, settings: RunSettings, content: bytes, drafts: Collection[str]
) -> Place:
    try:
        if settings.out is not None:
            return exactly(settings.out, content, drafts, exist_ok=settings.exist_ok)
        return next_free(settings.project / verb, settings.name, exist_ok=settings.exist_ok)
    except OSError as error:
        raise ConfigError(
            f"{error.filename}: no run folder can be made: {error.strerror}. "
            "Choose another with --out."
        ) from error
