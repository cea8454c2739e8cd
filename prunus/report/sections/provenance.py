"""How this came about: stages, recipe, machine, and the fingerprint of every file."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from prunus.core.files import megabytes, sha256
from prunus.core.runs import CONFIG, LOG
from prunus.report.blocks import (
    Block,
    Cell,
    Code,
    Details,
    Facts,
    Listing,
    MissingError,
    Paragraph,
    Table,
    columns,
)
from prunus.report.compressed import Compressed
from prunus.report.sources import Source, read_text
from prunus.report.values import number, record, records, text, texts
from prunus.report.wording import decimal, duration

MOST_FILES = 400
MOST_LINES = 400
NO_ARTEFACTS = (LOG, "report.html")
RECIPE = "recipe.yaml"
SHOWN_LETTERS = 500


def not_done(run: Compressed) -> Sequence[Block]:
    """Return what was left out, as the run says."""
    told = run.source.report.get("not_done")
    if not isinstance(told, list):
        raise MissingError("the run does not say what it left out.")
    found = texts(told)
    return [Listing(found)] if found else [Paragraph("Nothing was left out.")]


def stages(run: Compressed) -> Sequence[Block]:
    """Return the stages with their times, the recipe and the settings."""
    rows = []
    for line, source in run.source.stages:
        seconds = number(line.get("seconds"))
        there = "" if source is not None else "its report is missing"
        names = [text(line.get(name)) for name in ("folder", "name", "verb")]
        rows.append([*map(Cell, names), Cell(duration(seconds), seconds, there)])
    blocks: list[Block] = []
    if rows:
        headings = columns("folder", "stage", "verb") + columns("time", numeric=True)
        blocks.append(Table("Stages, in order", headings, rows))
    blocks += _recipe(run.source)
    if not blocks:
        raise MissingError("the report names no stages, and there is no recipe.")
    return blocks


def environment(run: Compressed) -> Sequence[Block]:
    """Return the machine, the packages and what went in."""
    report = run.source.report
    machine, packages = record(report.get("machine")), record(report.get("packages"))
    if not machine and not packages:
        raise MissingError("the report says nothing of the machine.")
    inputs = []
    for role, file in record(report.get("inputs")).items():
        path, digest = (text(record(file).get(name)) for name in ("path", "sha256"))
        inputs.append((text(role), f"{path}  sha256 {digest}"))
    return [Facts([*inputs, *_shown(machine), *_shown(packages)])]


def artefacts(run: Compressed) -> Sequence[Block]:
    """Return size and SHA-256 of every file of the run, as they are now."""
    claimed = {
        text(facts.get("sha256")): text(facts.get("name"))
        for facts in records(run.source.report.get("models"))
        if facts.get("sha256")
    }
    files = list(_files(run.source.folder))
    rows = []
    for path in files[:MOST_FILES]:
        try:
            digest, size = sha256(path), megabytes(path)
        except OSError:
            continue
        name = text(path.relative_to(run.source.folder).as_posix())
        rows.append(
            [Cell(name), Cell(decimal(size, 3), size), Cell(digest), Cell(claimed.get(digest, ""))]
        )
    if not rows:
        raise MissingError("the run folder holds no files.")
    lost = [name for digest, name in claimed.items() if digest not in {row[2].text for row in rows}]
    headings = columns("file") + columns("MB", numeric=True) + columns("SHA-256", "model")
    blocks: list[Block] = []
    if lost and len(files) <= MOST_FILES:
        words = ", ".join(lost)
        blocks.append(Paragraph(f"No file has the SHA-256 that was reported of: {words}."))
    if len(files) > MOST_FILES:
        blocks.append(Paragraph(f"The first {MOST_FILES} of {len(files)} files."))
    table = Table("Files, as they were when this page was made", headings, rows)
    return [*blocks, Details(f"{len(rows)} files with their SHA-256", [table])]


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files that the run's verbs wrote, its own first."""
    every = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    for path in sorted(every, key=lambda path: (len(path.relative_to(folder).parts), str(path))):
        if path.name not in NO_ARTEFACTS and not path.name.startswith("."):
            yield path


def _recipe(source: Source) -> list[Block]:
    name = source.report.get("recipe")
    path = source.path(name) if name else source.path(RECIPE)
    recipe = None if path is None else read_text(path)
    blocks: list[Block] = []
    if recipe is not None and path is not None:
        command = f"prunus run {text(path.name)}"
        blocks.append(Details(f"To run it again: {command}", [Code(clean_lines(recipe))]))
    settings = read_text(source.folder / CONFIG)
    if settings is not None:
        command = f"prunus {source.verb} --config {CONFIG}"
        blocks.append(Details(f"Settings: {command}", [Code(clean_lines(settings))]))
    return blocks


def clean_lines(content: str) -> str:
    """Return the first lines of a file, without control characters."""
    lines = content.splitlines()
    shown = [text(line, SHOWN_LETTERS) for line in lines[:MOST_LINES]]
    return "\n".join([*shown, "…"] if len(lines) > MOST_LINES else shown)


def _shown(facts: Mapping[str, object]) -> list[tuple[str, str]]:
    return [
        (text(name), text(value if isinstance(value, str | int | float) else json.dumps(value)))
        for name, value in facts.items()
        if value is not None
    ]
