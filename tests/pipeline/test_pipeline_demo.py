"""`prunus demo` at its smallest: what a newcomer sees first ends with a table and a page."""

from pathlib import Path

import pytest

from prunus.cli.main import main

pytestmark = pytest.mark.integration


def test_the_demo_ends_with_the_table_the_verdict_and_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = "--train-images 8 --img 64 --adapt-epochs 1 --finetune-epochs 1 --speedup 1.2"
    assert main(["demo", *words.split()]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "report: runs/compress/exp/report.html"
    assert any(line.startswith("runs/compress/exp: its report will be") for line in said[:5])
    assert any(line.startswith("No promise: ") for line in said), "eight images are too few"
    recipe = (tmp_path / "runs/compress/exp/recipe.yaml").read_text().splitlines()
    assert set(recipe) <= set(said), "the recipe that was run is shown"
    rows = (tmp_path / "runs/compress/exp/steps.md").read_text().splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == [
        "| adapted, dense",
        "| dense, 1 more",
        "| pruned",
        "| fine-tuned, pruned",
    ]
    assert (tmp_path / "runs/compress/exp/report.html").stat().st_size > 50_000
