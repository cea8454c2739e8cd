"""SIGKILL at every moment of a save, and at any moment of a training: nothing is lost (R1, R3)."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import torch

from prunus.train.checkpoint import BEST, LAST, PREVIOUS, STATE
from prunus.train.logs import RESULTS
from prunus.train.sealed import DamagedError, read_sealed
from prunus.weights.files import load_weights

pytestmark = pytest.mark.integration
Victim = Callable[..., Any]
Words = Callable[..., list[str]]


def newest(folder: Path) -> int:
    """Return the number of the newest state that is whole, 0 for none."""
    for name in (STATE, PREVIOUS):
        try:
            content = read_sealed(folder / name)
        except (FileNotFoundError, DamagedError):
            continue
        assert (content["tensor"] == content["number"]).all()
        return int(content["number"])
    return 0


def test_a_kill_at_any_boundary_of_a_save_loses_at_most_that_save(
    victim: Victim, tmp_path: Path
) -> None:
    points = 0
    while True:
        folder = tmp_path / str(points)
        folder.mkdir()
        running = victim(saves=str(folder), kill_at=points + 1)
        status = running.end()
        safe = max((said["saved"] for said in running.said if "saved" in said), default=0)
        assert safe <= newest(folder) <= safe + 1
        assert (folder / STATE).exists() or safe in (0, newest(folder))
        if status == 0:
            break
        assert status == -signal.SIGKILL
        points += 1
    assert points >= 40
    assert safe == newest(folder) == 3


def test_a_kill_at_any_time_of_a_save_loses_at_most_that_save(
    victim: Victim, tmp_path: Path
) -> None:
    """As above, but by the clock: also within the system's own calls."""
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        running = victim(saves=str(folder))
        time.sleep(0.0005 * number)
        with suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGKILL)
        running.end()
        safe = max((said["saved"] for said in running.said if "saved" in said), default=0)
        assert safe <= newest(folder) <= safe + 1


def bits(folder: Path) -> dict[str, Any]:
    """Return all that two runs of the same training must have in common."""
    state = read_sealed(folder / STATE)
    tensors = {
        f"{part}.{name}": t for part in ("detector", "average") for name, t in state[part].items()
    }
    for number, moments in state["optimizer"]["state"].items():
        tensors.update({f"{number}.{name}": t for name, t in moments.items() if t is not None})
    weights = {
        f"{name}.{key}": tensor
        for name in (LAST, BEST)
        for key, tensor in load_weights(folder / name).detector.state_dict().items()
    }
    facts = {
        "results": (folder / RESULTS).read_text(),
        "updates": state["updates"],
        "spent": state["spent"],
    }
    return {**tensors, **weights, **facts}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        same = (
            torch.equal(value, other[name])
            if isinstance(value, torch.Tensor)
            else value == other[name]
        )
        assert same, name


@dataclass
class Baseline:
    """A training without a fault: its bits, its seconds from the first step on, its boundaries."""

    bits: dict[str, Any]
    seconds: float
    boundaries: int


BASELINES: dict[str, Baseline] = {}
VARIANTS: dict[str, dict[str, object]] = {
    "plain": {},
    "two workers": {"workers": 2},
    "sparsity": {"sparsity": "auto", "optimizer": "adamw"},
    "zeros": {"weight_sparsity": 0.5, "workers": 2},
}


@pytest.fixture
def through(victim: Victim, words: Words, tmp_path: Path) -> Callable[[str], Baseline]:
    """Train without a fault, once for each variant."""

    def run(variant: str) -> Baseline:
        if variant not in BASELINES:
            folder = tmp_path / "through"
            running = victim(
                arguments=words(folder, **VARIANTS[variant]), phases=["step"], kill_at=0
            )
            running.until("phase")
            start = monotonic()
            boundaries = running.until("boundaries")
            assert running.end() == 0, running.text()
            BASELINES[variant] = Baseline(bits(folder), monotonic() - start, boundaries)
        return BASELINES[variant]

    return run


@pytest.mark.parametrize("variant", VARIANTS)
def test_killed_again_and_again_a_training_ends_in_the_same_bits(
    victim: Victim,
    words: Words,
    through: Callable[[str], Baseline],
    tmp_path: Path,
    variant: str,
) -> None:
    """At any moment: in a step, between the steps of an accumulation, in a save, in validation."""
    baseline, folder = through(variant), tmp_path / "killed"
    kills, arguments = 0, words(folder, **VARIANTS[variant])
    for share in (0.2, 0.25, 0.3, 1000):
        running = victim(arguments=arguments, kill_after=share * baseline.seconds)
        status = running.end()
        if status == 0:
            break
        assert status == -signal.SIGKILL, running.text()
        kills += 1
        arguments = ["train", "--resume", str(folder)]
    assert kills
    assert status == 0
    assert_same(baseline.bits, bits(folder))


@pytest.mark.parametrize("share", [0.2, 0.36, 0.52, 0.68, 0.84, 0.99])
def test_a_training_killed_at_a_write_boundary_resumes_by_itself(
    victim: Victim,
    words: Words,
    through: Callable[[str], Baseline],
    tmp_path: Path,
    share: float,
) -> None:
    baseline = through("plain")
    folder = tmp_path / "runs" / "train" / "exp"
    running = victim(arguments=words(folder), kill_at=int(baseline.boundaries * share))
    assert running.end() == -signal.SIGKILL, running.text()
    complete = (folder / "report.json").is_file()
    again = victim(arguments=["train", "--resume", "--project", str(tmp_path / "runs")])
    assert again.end() == (2 if complete else 0), again.text()
    assert_same(baseline.bits, bits(folder))
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
    assert (folder / "report.json").is_file()
