"""The floors: a package imports only from lower ones, function-level imports included."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    "core": 0,
    "data": 1,
    "model": 1,
    "weights": 2,
    "evaluate": 3,
    "train": 4,
    "prune": 4,
    "export": 4,
    "predict": 4,
    "report": 4,
    "pipeline": 5,
    "cli": 6,
}
FORBIDDEN_NAMES = {"utils", "util", "misc", "helpers", "common"}


def imported_modules(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def breaches(file: str, source: str) -> list[str]:
    room = Path(file).parts[1]
    found = []
    for module in imported_modules(source):
        parts = module.split(".")
        other = parts[1] if parts[0] == "prunus" and len(parts) > 1 else None
        if other in FLOORS and other != room and FLOORS[other] >= FLOORS.get(room, 7):
            found.append(
                f"{file} imports prunus.{other}, which is not below prunus.{room}. "
                "Pass the thing in as an argument, or move it to a lower floor."
            )
    return found


PACKAGE_FILES = sorted((ROOT / "prunus").rglob("*.py"))


def test_every_package_imports_only_from_lower_floors() -> None:
    found = [
        breach
        for path in PACKAGE_FILES
        for breach in breaches(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


def test_every_room_has_a_floor() -> None:
    rooms = {path.name for path in (ROOT / "prunus").iterdir() if (path / "__init__.py").is_file()}
    assert rooms == set(FLOORS)


def test_no_room_is_named_after_nothing() -> None:
    assert not [path for path in PACKAGE_FILES if path.stem in FORBIDDEN_NAMES]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("prunus/core/bad.py", "import prunus.prune"),
        ("prunus/train/bad.py", "from prunus.prune.run import prune"),
        ("prunus/data/bad.py", "def late():\n    from prunus import weights\n"),
        ("prunus/evaluate/bad.py", "from prunus.cli import main"),
    ],
)
def test_a_breach_is_found_and_explained(file: str, source: str) -> None:
    (breach,) = breaches(file, source)
    assert "which is not below prunus." in breach
