"""`prunus report`: one page, from the command line."""

import json
from pathlib import Path

import pytest

from prunus.cli.main import main

pytestmark = pytest.mark.integration


def test_one_compress_run_gives_its_report(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["report", str(run), "--out", str(out), "--quiet"]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["missing"] == {}
    assert report["bytes"] == (out / "report.html").stat().st_size
    assert "Compressing yolov5n on data" in (out / "report.html").read_text(encoding="utf-8")


def test_several_runs_are_compared(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    runs = [str(run), str(run / "01-adapt"), str(run / "07-val-result")]
    assert main(["report", *runs, "--out", str(out), "--quiet"]) == 0
    assert "3 runs compared" in (out / "report.html").read_text(encoding="utf-8")


def test_without_images(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert (
        main(["report", "--runs", str(run), "--pictures", "0", "--out", str(out), "--quiet"]) == 0
    )
    report = json.loads((out / "report.json").read_text())
    assert report["missing"] == {"images": "no images were asked for."}


def test_a_folder_that_is_no_run_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["report", "--runs", str(tmp_path), "--out", str(out)]) == 2
    assert capsys.readouterr().err == (
        f"prunus report: {tmp_path}: no finished run of Prunus: its report.json is missing or "
        "damaged. Give the folder of a run that has ended, or let that one end.\n"
    )
    assert not out.exists()


def test_no_run_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report"]) == 2
    assert capsys.readouterr().err.startswith("prunus report: report: RUN: is needed.")
