"""The command: every verb's help is cheap, every error is one line with exit code 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prunus.cli.main import VERBS, main

every_verb = pytest.mark.parametrize("verb", VERBS)


@every_verb
def test_help_imports_nothing_heavy(verb: str) -> None:
    code = (
        "import sys\n"
        "from prunus.cli.main import main\n"
        f"try: main({[*verb.split(), '--help']!r})\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'cv2', 'numpy', 'onnx', 'onnxruntime', 'rich', 'matplotlib'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "heavy: []"
    assert f"usage: prunus {verb}" in done.stdout


@every_verb
def test_an_unknown_option_is_one_line_with_a_hint(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*verb.split(), "--projct", "x"])
    error = capsys.readouterr().err
    assert error == (
        f"prunus {verb}: --projct: unknown option. Did you mean '--project'? "
        f"See prunus {verb} --help.\n"
    )


@every_verb
def test_a_wrong_value_is_one_line_naming_the_flag(
    verb: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("exist_ok: perhaps\n")
    assert main([*verb.split(), "--config", str(config)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert f"prunus {verb}: {verb}: --exist-ok: expected a valid boolean" in "\n".join(lines)
    assert all(line.startswith(f"prunus {verb}: ") for line in lines)


def test_no_verb_shows_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    overview = capsys.readouterr().out
    assert all(verb in overview for verb in VERBS)


def test_a_misspelt_verb_is_corrected(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert capsys.readouterr().err == (
        "prunus: no verb 'trian'. Did you mean 'train'? See prunus --help.\n"
    )


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("prunus ")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["inspect", "none.pt"], "none.pt: no such file"),
        (["val", "--weights", "none.pt", "--data", "none.yaml"], "none.pt: no such file"),
        (["train", "--cfg", "yolov5n"], "--data: is needed"),
        (["train", "--resume", "nowhere"], "nothing to resume"),
        (["predict", "--weights", "none.onnx", "--source", "x"], "none.onnx: no such file"),
        (["compress", "--data", "none.yaml"], "give either --weights FILE, or --cfg NAME"),
        (["data", "check", "none.yaml"], "none.yaml"),
        (["benchmark", "--weights", "none.pt"], "none.pt: no such file"),
        (["export", "--weights", "none.pt"], "none.pt: no such file"),
        (["prune", "--weights", "none.pt"], "none.pt: no such file"),
        (["sparsify", "--weights", "none.pt"], "none.pt: no such file"),
        (["sensitivity", "--weights", "none.pt", "--data", "x"], "none.pt: no such file"),
        (["sensitivity", "--weights", "none.pt"], "give --weights FILE and --data FILE, or --resu"),
        (["sensitivity", "--resume", "nowhere"], "nothing to resume"),
    ],
)
def test_what_is_missing_is_one_line_and_exit_code_2(
    words: list[str],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert line in error
    assert "Traceback" not in error


@pytest.mark.parametrize(("rank", "printed"), [("0", True), ("1", False)])
def test_of_processes_that_torchrun_has_started_the_first_prints_json(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    rank: str,
    printed: bool,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    words = ["data", "demo", str(tmp_path / "set"), "--train", "1", "--val", "1", "--test", "0"]
    assert main([*words, "--img", "64", "--out", str(tmp_path / "run"), "--json", "--quiet"]) == 0
    assert bool(capsys.readouterr().out) == printed


def test_json_is_the_report_and_quiet_is_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data", "demo", str(tmp_path / "set"), "--train", "2", "--val", "1", "--test", "0"]
    assert main([*words, "--img", "64", "--out", str(tmp_path / "run"), "--json", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == json.loads((tmp_path / "run" / "report.json").read_text())
    assert captured.err == ""


@pytest.mark.parametrize(("given", "used"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_that_wait_sleep_unless_the_user_wants_it_otherwise(
    given: str | None, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    assert main(["--version"]) == 0
    assert os.environ["OMP_WAIT_POLICY"] == used
