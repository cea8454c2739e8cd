"""The files of a run folder, as far as they are there and whole."""

import csv
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from prunus.core.errors import ConfigError
from prunus.core.runs import REPORT
from prunus.report.values import Record, number, record, records, text

RESULTS = "results.csv"
MOST_BYTES = 256 << 20
"""Larger files are no reports, tables or predictions."""
Rows = list[dict[str, float | None]]


@dataclass(frozen=True)
class Source:
    """A run folder.

    Attributes:
        folder: Where it lies.
        report: Its `report.json`.
    """

    folder: Path
    report: Record

    @property
    def name(self) -> str:
        return text(self.folder.name or str(self.folder))

    @property
    def verb(self) -> str:
        return text(self.report.get("verb"))

    @property
    def settings(self) -> Record:
        return record(self.report.get("settings"))

    @property
    def metrics(self) -> Record:
        return record(self.report.get("metrics"))

    @cached_property
    def results(self) -> Rows:
        """The rows of a training's results.csv, by epoch; [] where there is none."""
        return read_results(self.folder / RESULTS)

    @cached_property
    def stages(self) -> list[tuple[Record, "Source | None"]]:
        """Each stage's line and its folder; [] where the run was no chain."""
        lines = records(self.report.get("stages"))
        return [(line, self.inner(line.get("folder"))) for line in lines]

    def path(self, name: object) -> Path | None:
        """Return the path of a file or folder in this one; None where a name leads out of it."""
        if not isinstance(name, str) or not name or "\0" in name:
            return None
        path = self.folder / name
        try:
            inside = path.resolve().is_relative_to(self.folder.resolve())
        except (OSError, RuntimeError):  # a loop of links
            return None
        return path if inside else None

    def inner(self, name: object) -> "Source | None":
        """Return a run in this one's folder; None where there is none that can be read."""
        path = self.path(name)
        if path is None:
            return None
        report = read_record(path / REPORT)
        return None if report is None else Source(path, report)


def open_source(folder: Path) -> Source:
    """Return a run that is to be reported.

    Raises:
        ConfigError: The folder holds no report of a finished run.
    """
    report = read_record(folder / REPORT)
    if report is None or not isinstance(report.get("verb"), str):
        raise ConfigError(
            f"{folder}: no finished run of Prunus: its {REPORT} is missing or damaged. Give the "
            "folder of a run that has ended, or let that one end."
        )
    return Source(folder, report)


def read_record(path: Path) -> Record | None:
    """Return a JSON file's mapping; None where it is missing, damaged, or something else."""
    content = read_text(path)
    try:
        found = None if content is None else json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def read_text(path: Path) -> str | None:
    """Return a text file; None where it is missing, too large, or cannot be read."""
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def read_results(path: Path) -> Rows:
    """Return the rows of a results.csv; cells that are no numbers are None."""
    content = read_text(path)
    if content is None:
        return []
    try:
        return [
            {name.strip(): _cell(value) for name, value in row.items() if isinstance(name, str)}
            for row in csv.DictReader(content.splitlines())
        ]
    except csv.Error:
        return []


def _cell(value: object) -> float | None:
    try:
        return number(float(value)) if isinstance(value, str) else None
    except ValueError:
        return None
