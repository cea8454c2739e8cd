"""A start that comes to nothing stands in nobody's way: the same command works the next time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prunus.cli.main import main
from prunus.core.distributed import RESTARTS
from prunus.core.runs import CONFIG, LOG, only_begun
from prunus.pipeline.pictures import TRAINING_PICTURES
from prunus.pipeline.resume import begun_settings, run_to_resume
from prunus.train.checkpoint import LAST, STATE
from prunus.train.config import TrainConfig

pytestmark = pytest.mark.integration
MakeSettings = Callable[..., TrainConfig]
Victim = Callable[..., Any]
Words = Callable[..., list[str]]
FIRST_SAVE = 18
"""A boundary within the first save of the state; settings are written before."""


def killed(victim: Victim, words: list[str], kill_at: int = FIRST_SAVE) -> None:
    running = victim(arguments=words, kill_at=kill_at)
    assert running.end() == -9, running.text()


def assert_trained(running: Any, folder: Path) -> None:
    assert running.end() == 0, running.text()
    assert (folder / LAST).is_file()
    assert (folder / "report.json").is_file()
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("kill_at", [1, 5, 9, 13, FIRST_SAVE])
def test_killed_before_its_first_save_it_starts_again_with_the_same_command(
    victim: Victim, words: Words, tmp_path: Path, kill_at: int
) -> None:
    folder = tmp_path / "run"
    killed(victim, words(folder), kill_at)
    assert list(folder.iterdir())
    assert not (folder / STATE).exists()
    assert_trained(victim(arguments=words(folder)), folder)


def test_with_pictures_too(victim: Victim, words: Words, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [word for word in words(folder) if word != "--no-plots"]
    killed(victim, command, 60)
    assert set(TRAINING_PICTURES) & {path.name for path in folder.iterdir()}
    assert not (folder / STATE).exists()
    assert_trained(victim(arguments=command), folder)


@pytest.mark.parametrize("how", ["--resume FOLDER", "the same and --resume", "--resume"])
def test_killed_before_its_first_save_it_begins_again_by_resume(
    victim: Victim, words: Words, tmp_path: Path, how: str
) -> None:
    folder = tmp_path / "runs" / "train" / "exp"
    killed(victim, words(folder))
    command = {
        "--resume FOLDER": ["train", "--resume", str(folder)],
        "the same and --resume": [*words(folder), "--resume"],
        "--resume": ["train", "--resume", "--project", str(tmp_path / "runs")],
    }[how]
    again = victim(arguments=command)
    assert_trained(again, folder)
    assert f"{folder}: nothing had been saved there, so it begins again" in again.text()


def test_bad_data_leaves_nothing(
    words: Words, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, content = tmp_path / "run", data.read_text()
    data.write_text(content.replace("images/train", "images/absent"))
    errors = []
    for _ in range(2):
        assert main([*words(folder), "--quiet"]) == 2
        errors.append(capsys.readouterr().err)
        assert not folder.exists()
    assert "images/absent" in errors[0]
    assert errors[0] == errors[1]
    data.write_text(content)
    assert main([*words(folder, epochs=1), "--quiet"]) == 0


def test_what_is_refused_after_the_pictures_leaves_nothing_either(
    words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    command = [word for word in words(folder, freeze=99) if word != "--no-plots"]
    for _ in range(2):
        assert main([*command, "--quiet"]) == 2
        assert "there is no row 98" in capsys.readouterr().err
        assert not list(folder.iterdir())


def begun(folder: Path, settings: TrainConfig) -> Path:
    from prunus.core.runs import start

    start("train", settings.model_copy(update={"out": folder}), TRAINING_PICTURES).close()
    assert {path.name for path in folder.iterdir()} == {CONFIG, LOG}
    assert only_begun(folder, TRAINING_PICTURES)
    return folder


def test_what_was_begun_has_the_settings_that_it_was_begun_with(
    settings: MakeSettings, tmp_path: Path
) -> None:
    wanted = settings(hyp="voc", lr0=1e-5, sparsity="auto", freeze=[3])
    folder = begun(tmp_path / "run", wanted)
    assert begun_settings(folder) == wanted.model_copy(update={"out": folder})


def test_resume_alone_prefers_the_folder_that_is_named_and_what_has_saved_something(
    settings: MakeSettings, tmp_path: Path
) -> None:
    project = tmp_path / "runs"
    one = begun(project / "train" / "exp", settings())
    assert run_to_resume(settings(project=project)) is None
    assert run_to_resume(settings(project=project, resume="auto")) == one
    other = tmp_path / "other"
    assert run_to_resume(settings(project=project, resume="auto", out=other)) == other
    assert run_to_resume(settings(project=project, resume=other, out=one)) == other


def test_weights_without_a_state_are_never_written_over(
    words: Words, settings: MakeSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = begun(tmp_path / "run", settings())
    (folder / LAST).write_text("precious")
    assert main(["train", "--resume", str(folder)]) == 2
    assert "nothing to resume" in capsys.readouterr().err
    assert main(words(folder)) == 2
    assert "is not empty" in capsys.readouterr().err
    assert (folder / LAST).read_text() == "precious"


def test_torchrun_restarts_what_had_saved_nothing(
    settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RESTARTS, "1")
    folder = begun(tmp_path / "run", settings())
    assert run_to_resume(settings(out=folder)) is None, "`start` takes the folder again"
