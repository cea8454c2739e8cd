"""`--resume` finds the run by itself, and says what it could not use."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from prunus.cli.main import main
from prunus.core.errors import TrainingError
from prunus.core.runs import LOG, REPORT, reopen
from prunus.train import start
from prunus.train.checkpoint import FORMAT_VERSION, LAST, PREVIOUS, STATE
from prunus.train.config import TrainConfig
from prunus.train.find import AUTO, find_run
from prunus.train.sealed import write_sealed
from prunus.weights.native import save_weights

MakeSettings = Callable[..., TrainConfig]


def make_run(project: Path, name: str, age_s: int, epoch: int = 1) -> Path:
    """A run folder with two states of a training of three epochs."""
    folder = project / "train" / name
    folder.mkdir(parents=True)
    texts: dict[str, object] = dict.fromkeys(("architecture", "progress", "origin"), "{}")
    texts |= {"settings": '{"epochs": 3}', "position": {"epoch": epoch}}
    for number in (1, 2):
        state = {"format_version": FORMAT_VERSION, "number": number, "w": torch.ones(4), **texts}
        write_sealed(folder / STATE, state, folder / PREVIOUS)
    for path in (folder / STATE, folder / PREVIOUS):
        os.utime(path, (10**9 - age_s, 10**9 - age_s))
    return folder


def test_the_newest_run_with_a_whole_state_is_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, middle, new = (
        make_run(tmp_path, name, age) for name, age in (("a", 9), ("b", 5), ("c", 1))
    )
    (tmp_path / "train" / "empty").mkdir()
    assert find_run(AUTO, tmp_path) == new
    assert find_run(old, tmp_path) == old
    (new / STATE).write_bytes(b"rot")
    assert find_run(AUTO, tmp_path) == new, "the previous state is as good a start"
    (new / PREVIOUS).write_bytes(b"rot")
    assert find_run(AUTO, tmp_path) == middle
    assert "c/state.pt: cut off" in caplog.text


def test_a_run_that_has_ended_and_reported_is_passed_over(tmp_path: Path) -> None:
    old, ended = make_run(tmp_path, "a", 9), make_run(tmp_path, "b", 1, epoch=3)
    assert find_run(AUTO, tmp_path) == ended, "its report is missing"
    (ended / REPORT).write_text("{}")
    assert find_run(AUTO, tmp_path) == old


def test_a_run_that_is_at_work_is_passed_over(tmp_path: Path, settings: MakeSettings) -> None:
    old, new = make_run(tmp_path, "a", 9), make_run(tmp_path, "b", 1)
    with reopen("train", new, settings()):
        pid = os.fork()  # a lock is a process's own, so another one has to look
        if pid == 0:
            os._exit(0 if find_run(AUTO, tmp_path) == old else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert (new / LOG).exists()
    assert find_run(AUTO, tmp_path) == new


def test_nothing_to_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        TrainingError, match=r"--resume: nothing to resume in .*train\. Give the fo"
    ):
        find_run(AUTO, tmp_path)
    for words in (["--resume"], ["--resume", "auto"]):
        assert main(["train", *words, "--project", str(tmp_path)]) == 2
        assert "nothing to resume" in capsys.readouterr().err


@pytest.mark.integration
def test_a_damaged_state_is_named_and_the_previous_one_taken(
    settings: MakeSettings, tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And neither `last` nor `best` is needed to go on."""
    through, folder = tmp_path / "through", tmp_path / "run"
    start.run(settings(cfg=str(tiny), epochs=3), through)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "prunus.train.session.Session._out_of_patience", lambda s: s.engine.position.epoch == 2
        )
        start.run(settings(cfg=str(tiny), epochs=3), folder)
    content = bytearray((folder / STATE).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / STATE).write_bytes(content)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    with caplog.at_level(logging.INFO, logger="prunus"):
        start.resume(folder)
    assert f"{folder / STATE}: damaged: its bytes do not have the SHA-256" in caplog.text
    assert "going on from state.previous.pt" in caplog.text
    assert f"resuming {folder} in epoch 2, after 0 batches" in caplog.text
    assert (through / "results.csv").read_text() == (folder / "results.csv").read_text()
    assert (folder / LAST).exists()


@pytest.mark.integration
def test_another_teacher_than_the_one_at_the_start_is_refused(
    settings: MakeSettings, tmp_path: Path, nano: torch.nn.Module
) -> None:
    teacher, folder = tmp_path / "teacher.safetensors", tmp_path / "run"
    save_weights(nano, teacher)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "prunus.train.session.Session._out_of_patience", lambda s: s.engine.position.epoch == 1
        )
        start.run(settings(teacher=teacher), folder)
    with torch.no_grad():
        next(nano.parameters()).add_(1e-3)
    save_weights(nano, teacher)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="another file than the one that this training began"):
        start.resume(folder)
