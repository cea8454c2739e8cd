"""The one table of a sweep: SQLite, a row a trial, written by the driver alone as results come.

One file and no other process that writes, so no write-ahead log: on network drives that needs
memory that the machines share. Every change is on the disk when the call returns.
"""

import csv
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, fields
from io import StringIO
from pathlib import Path
from types import UnionType
from typing import Literal, get_args, get_origin

from prunus.core.errors import ConfigError
from prunus.core.files import sha256, write_text
from prunus.pipeline.sweep.point import DENSE, Point, Trial

FILE, CSV = "sweep.sqlite", "sweep.csv"
KINDS = {int: "INTEGER", float: "REAL", str: "TEXT"}


def _column(name: str, annotation: object) -> str:
    """Return the declaration of a field: `"drop" REAL`, NOT NULL where it cannot be None."""
    optional = get_origin(annotation) is UnionType
    kind = get_args(annotation)[0] if optional else annotation
    if get_origin(kind) is Literal:
        kind = str
    rule = " PRIMARY KEY" if name == "number" else "" if optional else " NOT NULL"
    return f'"{name}" {KINDS[kind]}{rule}'  # type: ignore[index]


NAMES = tuple(field.name for field in fields(Trial))
SCHEMA = ", ".join(_column(field.name, field.type) for field in fields(Trial))
INPUTS = "role TEXT PRIMARY KEY, sha256 TEXT NOT NULL"
FILL_IN = """
UPDATE trials SET
    "drop" = dense.map50_95 - trials.map50_95,
    flops_share = trials.gflops / dense.gflops
FROM (SELECT map50_95, gflops FROM trials WHERE number = 0 AND status = 'done') AS dense
WHERE trials.status = 'done'
"""
"""What is told in terms of the dense model, whenever that was judged."""


class Table:
    """An open table; close it, or use it as a context."""

    def __init__(self, path: Path) -> None:
        """Open the table, or make it.

        Raises:
            ConfigError: The file is no table of a sweep.
        """
        self.path = path
        self._connection = sqlite3.connect(path)
        try:
            self._connection.execute("PRAGMA journal_mode = DELETE")
            self._connection.execute(f"CREATE TABLE IF NOT EXISTS trials ({SCHEMA})")
            self._connection.execute(f"CREATE TABLE IF NOT EXISTS inputs ({INPUTS})")
            self.trials()
        except (sqlite3.Error, TypeError) as error:
            self._connection.close()
            raise _unreadable(path, error) from error

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def check_inputs(self, files: Mapping[str, Path]) -> None:
        """Record the files that trials are made from, by role; later ones must be the same.

        Raises:
            ConfigError: One has changed: its trials and the earlier ones are not to be compared.
        """
        known = dict(self._connection.execute("SELECT role, sha256 FROM inputs"))
        found = {role: sha256(path) for role, path in files.items()}
        for role, digest in found.items():
            if known.get(role, digest) != digest:
                raise ConfigError(
                    f"--{role}: {files[role]} is not what it was when {self.path.parent} was "
                    "begun. Put it back, or choose another --out."
                )
        with self._connection:
            self._connection.executemany(
                "INSERT OR IGNORE INTO inputs VALUES (?, ?)", list(found.items())
            )

    def add(self, points: Iterable[Point | None]) -> list[Trial]:
        """Append waiting trials, None being the dense model; return them."""
        first = len(self.trials())
        trials = [
            Trial(number, "waiting", DENSE)
            if point is None
            else Trial(number, "waiting", **asdict(point))
            for number, point in enumerate(points, start=first)
        ]
        marks = ", ".join("?" * len(NAMES))
        with self._connection:
            self._connection.executemany(
                f"INSERT INTO trials VALUES ({marks})",
                [tuple(asdict(trial).values()) for trial in trials],
            )
        return trials

    def change(self, number: int, **values: object) -> Trial:
        """Set columns of a trial, and return it."""
        assignments = ", ".join(f'"{name}" = ?' for name in values)
        with self._connection:
            self._connection.execute(
                f"UPDATE trials SET {assignments} WHERE number = ?", (*values.values(), number)
            )
            self._connection.execute(FILL_IN)
        return self.trials()[number]

    def trials(self) -> list[Trial]:
        """Return all trials; each has its number as its index."""
        return _read(self._connection)

    def write_csv(self, path: Path) -> None:
        """Write everything as CSV, for spreadsheets."""
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(NAMES)
        writer.writerows(asdict(trial).values() for trial in self.trials())
        write_text(path, text.getvalue())


def read_trials(folder: Path) -> list[Trial]:
    """Return the trials of a sweep's folder, also while it runs.

    Raises:
        ConfigError: There is no table, or it cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        raise ConfigError(f"{folder}: holds no {FILE}. Give the folder of a `prunus sweep` run.")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return _read(connection)
    except (sqlite3.Error, TypeError) as error:
        raise _unreadable(path, error) from error


def _read(connection: sqlite3.Connection) -> list[Trial]:
    names = ", ".join(f'"{name}"' for name in NAMES)
    rows = connection.execute(f"SELECT {names} FROM trials ORDER BY number")
    return [Trial(*row) for row in rows]


def _unreadable(path: Path, error: Exception) -> ConfigError:
    return ConfigError(f"{path}: not the table of a sweep: {error}. Choose another --out.")
