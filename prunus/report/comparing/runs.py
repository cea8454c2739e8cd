"""What some runs were: when and where they ran, on which data, with which settings."""

from collections.abc import Mapping, Sequence

from prunus.report.blocks import Block, Cell, Details, MissingError, Table, columns
from prunus.report.sources import Source
from prunus.report.values import Record, number, record, text
from prunus.report.wording import duration

PLACE = ("project", "name", "out", "exist_ok", "resume")
"""Settings that say where a run wrote, not what it did."""
MOST_SETTINGS = 150
UNFOLDED = 20
"""Settings up to which the table is not folded away."""

Runs = Mapping[str, Source]
"""Finished runs by their names in the page."""


def data_digest(source: Source) -> str:
    """Return what tells a data set from others: of its images and labels, or else of its file."""
    own = record(source.report.get("data")).get("sha256")
    inputs = record(source.report.get("inputs"))
    return text(record(inputs.get("data")).get("sha256") or own)


def list_runs(runs: Runs) -> Sequence[Block]:
    """Return what was run, when, where and on what."""
    headings = columns("run", "verb", "finished") + columns("time", numeric=True)
    headings += columns("folder", "data", "processor", "torch")
    rows = []
    for name, source in runs.items():
        seconds = number(source.report.get("seconds"))
        machine = record(source.report.get("machine"))
        packages = record(source.report.get("packages"))
        rows.append(
            [
                Cell(name),
                Cell(source.verb),
                Cell(text(source.report.get("finished"))),
                Cell(duration(seconds), seconds),
                Cell(text(str(source.folder))),
                Cell(data_digest(source)[:12]),
                Cell(text(machine.get("gpu") or machine.get("processor"))),
                Cell(text(packages.get("torch"))),
            ]
        )
    return [Table("The runs; data: the first digits of its SHA-256", headings, rows)]


def settings_that_differ(runs: Runs) -> Sequence[Block]:
    """Return a column a run of the settings that are not the same in all."""
    if len(runs) < 2:
        raise MissingError("there is one run only.")
    flat = {name: _flat(source.settings) for name, source in runs.items()}
    keys = list(dict.fromkeys(key for settings in flat.values() for key in settings))
    differing = [key for key in keys if len({flat[name].get(key, "") for name in runs}) > 1]
    if not differing:
        raise MissingError("these runs had the same settings.")
    rows = [
        [Cell(key), *(Cell(flat[name].get(key, "")) for name in runs)]
        for key in differing[:MOST_SETTINGS]
    ]
    headings = columns("setting", *runs)
    table = Table("Settings; empty: the verb has no such setting", headings, rows)
    return [table] if len(rows) <= UNFOLDED else [Details(f"{len(rows)} settings", [table])]


def _flat(settings: Record, before: str = "") -> dict[str, str]:
    """Return settings by name, those within others by both names."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        key = f"{before}{text(name)}"
        if not before and name in PLACE:
            continue
        if isinstance(value, dict) and not before:
            found.update(_flat(value, f"{key}."))
        else:
            found[key] = text(" ".join(map(str, value)) if isinstance(value, list) else value)
    return found
