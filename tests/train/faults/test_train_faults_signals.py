"""SIGTERM and SIGINT in every phase: saved within a step, told by the status, nobody left (R4)."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prunus.core.errors import ConfigError
from prunus.core.runs import in_use, reopen
from prunus.train.checkpoint import LAST, STATE, read_state
from prunus.train.start import saved_settings
from prunus.weights.files import load_weights

pytestmark = pytest.mark.integration
Victim = Callable[..., Any]
Words = Callable[..., list[str]]
STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130}


@pytest.mark.parametrize("number", STATUS)
@pytest.mark.parametrize("phase", ["data", "step", "validation", "save"])
def test_one_signal_saves_and_leaves(
    victim: Victim, words: Words, tmp_path: Path, phase: str, number: signal.Signals
) -> None:
    """Sent to the whole group, as a terminal and many schedulers do."""
    folder = tmp_path / "run"
    running = victim(
        arguments=words(folder, workers=2, epochs=50, save_minutes=0), phases=[phase], pause=0.3
    )
    for _ in range(3 if phase != "data" else 1):  # in the midst of things
        running.until("phase")
    os.killpg(running.pid, number)
    sent = time.monotonic()
    assert running.end() == STATUS[number], running.text()
    assert time.monotonic() - sent < 20
    assert not running.relatives()
    assert f"Go on with: prunus train --resume {folder}" in running.text()
    assert "Traceback" not in running.text()
    assert "loader worker" not in running.text(), "they wait for their parent"
    state = read_state(folder / STATE)
    steps = len([said for said in running.said if said.get("phase") == "step"])
    assert phase != "step" or state["position"]["batch"] in (steps, steps % 4)
    if phase != "data":
        assert load_weights(folder / LAST)
    again = victim(arguments=["train", "--resume", str(folder)], phases=["validation"])
    again.until("phase")
    os.kill(again.pid, signal.SIGKILL)
    again.end()
    assert "resuming" in again.text()


def test_a_second_signal_does_not_wait_for_the_step(
    victim: Victim, words: Words, tmp_path: Path
) -> None:
    running = victim(
        arguments=words(tmp_path / "run", workers=2, epochs=50), phases=["step"], pause=8
    )
    running.until("phase")
    os.killpg(running.pid, signal.SIGTERM)
    time.sleep(0.3)
    os.killpg(running.pid, signal.SIGTERM)
    sent = time.monotonic()
    assert running.end() == 143, running.text()
    assert time.monotonic() - sent < 6
    assert not running.relatives()
    assert read_state(tmp_path / "run" / STATE)["position"]["batch"] == 0


def test_workers_do_not_outlive_a_training_that_is_killed(
    victim: Victim, words: Words, tmp_path: Path
) -> None:
    running = victim(
        arguments=words(tmp_path / "run", workers=2, epochs=50), phases=["step"], pause=0.1
    )
    for _ in range(2):
        running.until("phase")
    assert len(running.relatives()) == 3
    os.kill(running.pid, signal.SIGKILL)
    assert running.end() == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while running.relatives():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_two_processes_do_not_resume_the_same_run(
    victim: Victim, words: Words, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    running = victim(arguments=words(folder, epochs=50), phases=["step"])
    running.until("phase")
    assert in_use(folder)
    with pytest.raises(ConfigError, match="another process is at work in this run folder"):
        reopen("train", folder, saved_settings(folder))
    os.kill(running.pid, signal.SIGKILL)
    running.end()
    assert not in_use(folder)
    reopen("train", folder, saved_settings(folder)).close()
