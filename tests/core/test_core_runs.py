"""Run folders: never another run's, always a report; and files that are never half written."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from prunus.core.console import log, table, track
from prunus.core.errors import ConfigError, PrunusError, suggest
from prunus.core.files import read_yaml, sha256, write_atomically, write_json, write_text
from prunus.core.runs import RunSettings, finite, start


def settings(tmp_path: Path, **values: object) -> RunSettings:
    return RunSettings.model_validate({"project": tmp_path / "runs", **values})


def test_each_run_gets_its_own_numbered_folder(tmp_path: Path) -> None:
    folders = []
    for _ in range(3):
        with start("val", settings(tmp_path)) as run:
            folders.append(run.folder.name)
    assert folders == ["exp", "exp2", "exp3"]
    with start("val", settings(tmp_path, exist_ok=True)) as again:
        assert again.folder.name == "exp"


def test_the_report_holds_what_others_rely_on(tmp_path: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_text("plum")
    with start("val", settings(tmp_path)) as run:
        run.add_input("weights", source)
        run.report["metrics"] = {"map50": np.float32(0.5), "none": math.nan}
        log.warning("a line for the log")
        report = run.finish()
    on_disk = json.loads((run.folder / "report.json").read_text())
    assert on_disk == report
    assert on_disk["schema_version"] == 1
    assert on_disk["inputs"]["weights"]["sha256"] == sha256(source)
    assert on_disk["metrics"] == {"map50": 0.5, "none": None}
    assert on_disk["settings"]["name"] == "exp"
    assert {"machine", "packages", "seconds"} <= set(on_disk)
    assert "a line for the log" in (run.folder / "log.txt").read_text()
    assert read_yaml(run.folder / "config.yaml") == on_disk["settings"]


def test_a_failed_run_stops_logging_into_its_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="boom"), start("val", settings(tmp_path)) as run:
        raise RuntimeError("boom")
    log.warning("later")
    assert "later" not in (run.folder / "log.txt").read_text()


def test_out_refuses_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious")
    with pytest.raises(
        ConfigError, match=r"is not empty\. Choose another folder, or add --exist-ok"
    ):
        start("val", settings(tmp_path, out=tmp_path / "full"))
    with start("val", settings(tmp_path, out=tmp_path / "full", exist_ok=True)) as run:
        assert run.folder == tmp_path / "full"
    assert (tmp_path / "full" / "mine.txt").read_text() == "precious"


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="no run folder can be made"):
        start("val", settings(tmp_path, out=tmp_path / "file" / "below"))


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def fill_half(temporary: Path) -> None:
        temporary.write_text("ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(PrunusError, match=r"a\.txt: not written: No space left on device"):
        write_atomically(target, fill_half)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float values"):
        write_json(tmp_path / "a.json", {"x": math.nan})
    assert not (tmp_path / "a.json").exists()


def test_finite_keeps_values_and_drops_what_json_cannot_say() -> None:
    assert finite({1: (np.int64(3), math.inf, Path("a"), True)}) == {"1": [3, None, "a", True]}


def test_suggest_names_the_nearest_or_nothing() -> None:
    assert suggest("presicion", ["precision", "recall"]) == " Did you mean 'precision'?"
    assert suggest("xyz", ["precision"]) == ""


def test_a_table_aligns_numbers_to_the_right() -> None:
    assert table("t", ("name", "n"), [("a", 5), ("long", 123), ("none", None)]).splitlines() == [
        "t",
        "name    n",
        "----  ---",
        "a       5",
        "long  123",
        "none    -",
    ]


def test_track_yields_everything_in_order() -> None:
    assert list(track(range(5), "counting")) == [0, 1, 2, 3, 4]
