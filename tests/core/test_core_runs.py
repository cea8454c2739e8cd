"""Run folders: never another run's, always a report; and files that are never half written."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from prunus.core.console import log, table, track
from prunus.core.errors import ConfigError, PrunusError, suggest
from prunus.core.files import read_yaml, sha256, write_atomically, write_json, write_text
from prunus.core.runs import RunSettings, finite, only_begun, start


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


ENDS = [PrunusError("bad data"), KeyboardInterrupt("stop")]


@pytest.mark.parametrize("error", ENDS, ids=["error", "Ctrl-C"])
@pytest.mark.parametrize("exists", [False, True])
def test_a_run_that_comes_to_nothing_leaves_its_folder_as_it_was(
    tmp_path: Path, error: BaseException, exists: bool
) -> None:
    out = tmp_path / "out"
    if exists:
        out.mkdir()
    for _ in range(2):
        with (
            pytest.raises(type(error), match=str(error)),
            start("val", settings(tmp_path, out=out), ["draft.png"]) as run,
        ):
            run.path("draft.png").write_bytes(b"picture")
            raise error
        assert out.exists() == exists
        assert not exists or not list(out.iterdir())


def test_a_run_that_comes_to_nothing_gives_its_number_back(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(PrunusError, match="no"), start("val", settings(tmp_path)) as run:
            raise PrunusError("no")
        assert (run.folder.name, run.folder.exists()) == ("exp", False)


def test_what_was_there_and_what_has_come_of_a_run_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("precious")
    (out / "draft.png").write_text("mine too")
    again = settings(tmp_path, out=out, exist_ok=True)
    with pytest.raises(PrunusError, match="no"), start("val", again, ["draft.png"]):
        raise PrunusError("no")
    assert {path.name for path in out.iterdir()} == {"mine.txt", "draft.png"}
    with pytest.raises(PrunusError, match="no"), start("val", again) as run:
        run.path("result.txt").write_text("worth hours")
        raise PrunusError("no")
    assert {"mine.txt", "result.txt", "config.yaml", "log.txt"} <= {p.name for p in out.iterdir()}


def killed(tmp_path: Path, out: Path) -> RunSettings:
    """Leave what a start leaves that is killed while it draws."""
    same = settings(tmp_path, out=out)
    run = start("val", same, ["draft.png"])
    log.warning("of the first start")
    run.close()
    run.path("draft.png").write_bytes(b"old")
    run.path(".draft.png.abcd_123.png").write_bytes(b"half")
    return same


def test_a_killed_start_can_be_made_again_with_the_same_settings(tmp_path: Path) -> None:
    out = tmp_path / "out"
    same = killed(tmp_path, out)
    with start("val", same, ["draft.png"]) as run:
        assert {path.name for path in out.iterdir()} == {"config.yaml", "log.txt", "draft.png"}
        log.warning("of the second start")
        run.finish()
    text = (out / "log.txt").read_text()
    assert "of the first start" in text
    assert "of the second start" in text
    with pytest.raises(ConfigError, match="is not empty"):
        start("val", same, ["draft.png"])


def test_a_start_killed_in_its_first_write_can_be_made_again(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".config.yaml.abcd_123.yaml").write_text("proj")
    with start("val", settings(tmp_path, out=tmp_path / "out")):
        assert {p.name for p in (tmp_path / "out").iterdir()} == {"config.yaml", "log.txt"}


@pytest.mark.parametrize("name", ["state.pt", "notes.txt", ".hidden", "config.yaml"])
def test_a_folder_with_anything_else_is_no_killed_start(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    same = killed(tmp_path, out)
    (out / name).write_text("precious")
    with pytest.raises(ConfigError, match="is not empty"):
        start("val", same, ["draft.png"])
    assert (out / name).read_text() == "precious"
    assert only_begun(out, ["draft.png"]) == (name == "config.yaml")


def test_other_settings_do_not_take_the_place_of_a_killed_start(tmp_path: Path) -> None:
    killed(tmp_path, tmp_path / "out")
    with pytest.raises(ConfigError, match="is not empty"):
        start("val", settings(tmp_path, out=tmp_path / "out", name="other"), ["draft.png"])


def test_the_log_of_a_bug_is_kept_and_the_start_can_be_made_again(tmp_path: Path) -> None:
    same = settings(tmp_path, out=tmp_path / "out")
    with pytest.raises(RuntimeError, match="boom"), start("val", same) as run:
        raise RuntimeError("boom")
    assert run.path("log.txt").is_file()
    start("val", same).close()


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
