"""The examples in docs/ do what they say: the blocks of a page are run in order, as one program."""

import argparse
import re
from importlib import import_module
from pathlib import Path

import pytest

from prunus.cli.main import VERBS
from prunus.core.config import add_arguments, from_arguments

DOCS = Path(__file__).resolve().parents[1] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def program(page: Path) -> str:
    """Return the page's code, each line where it stands on the page, so that errors point there."""
    text = page.read_text(encoding="utf-8")
    lines = [""] * text.count("\n")
    for block in BLOCK.finditer(text):
        start = text.count("\n", 0, block.start(1))
        code = block[1].splitlines()
        lines[start : start + len(code)] = code
    return "\n".join(lines)


PAGES = [page for page in sorted(DOCS.glob("*.md")) if BLOCK.search(page.read_text("utf-8"))]


def test_python_md_is_among_the_pages() -> None:
    assert DOCS / "python.md" in PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(program(page), str(page), "exec"), {"__name__": "example"})  # noqa: S102


def test_lines_stay_where_they_are(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Title\n\n```python\none = 1\n```\ntext\n```bash\nls\n```\n```python\n1 / 0\n```\n"
    )
    assert program(page).splitlines()[3] == "one = 1"
    with pytest.raises(ZeroDivisionError, match="division by zero") as raised:
        exec(compile(program(page), str(page), "exec"), {})  # noqa: S102
    assert raised.traceback[-1].lineno + 1 == 11


COMMAND = re.compile(r"^(?:torchrun .*-m )?prunus (\S.*)$")
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    pages = (page.read_text("utf-8") for page in sorted(DOCS.glob("*.md")))
    lines = [line for page in pages for block in SHELL.findall(page) for line in block.splitlines()]
    return [found[1] for line in lines if (found := COMMAND.match(line))]


def test_commands_are_found() -> None:
    assert len(commands()) > 20


@pytest.mark.parametrize("command", commands())
def test_the_commands_of_a_page_are_understood(command: str) -> None:
    words = command.split()
    length = next(n for n in (2, 1) if " ".join(words[:n]) in VERBS)
    verb = " ".join(words[:length])
    module = import_module(f"prunus.cli.{verb.replace(' ', '_')}")
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser, module.SETTINGS)
    settings = from_arguments(module.SETTINGS, parser.parse_args(words[length:]), verb)
    assert isinstance(settings, module.SETTINGS)
