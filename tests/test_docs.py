"""The examples in docs/ do what they say: the blocks of a page are run in order, as one program."""

import re
from pathlib import Path

import pytest

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
