"""Processes that train together: what befalls one of them, all deal with alike (R8, R12, R13)."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from prunus.train.checkpoint import LAST, STATE, read_state
from prunus.weights.files import load_weights

pytestmark = pytest.mark.integration
SCRIPT = Path(__file__).parent / "crew.py"
SOON_SECONDS = 15
Words = Callable[..., list[str]]


class Crew:
    """Processes at work together."""

    def __init__(self, server: "subprocess.Popen[str]", job: dict[str, Any]) -> None:
        assert server.stdin is not None
        self._server, self._job = server, job
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        self.phases = 0
        self.codes: dict[int, int] = {}
        self.seconds: dict[int, float] = {}
        self.pids: list[int] = self.until("pids")

    def until(self, key: str) -> Any:
        """Read what they say up to a key; return the key's value."""
        assert self._server.stdout is not None
        while True:
            line = self._server.stdout.readline()
            assert line, "the server of processes is gone"
            said = json.loads(line)
            self.phases += "phase" in said
            if "code" in said:
                self.codes[said["rank"]] = said["code"]
                self.seconds[said["rank"]] = said["seconds"]
            if key in said:
                return said[key]

    def end(self) -> list[int]:
        """Wait for the end; return the exit statuses by rank, negative for a signal."""
        self.until("ended")
        return [self.codes[rank] for rank in range(len(self.pids))]

    def text(self, rank: int = 0) -> str:
        return Path(f"{self._job['log']}.{rank}").read_text(encoding="utf-8")

    def apart(self) -> float:
        """Return the seconds between the first end and the last."""
        return max(self.seconds.values()) - min(self.seconds.values())


@pytest.fixture(scope="module")
def crew_server() -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, str(SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def crew(crew_server: "subprocess.Popen[str]", tmp_path: Path) -> Callable[..., Crew]:
    """Start processes that get the same words; `faults` are by rank."""

    def start(arguments: list[str], ranks: int = 2, faults: dict[int, Any] | None = None) -> Crew:
        log = str(tmp_path / f"log{len(list(tmp_path.iterdir()))}")
        job = {"arguments": arguments, "ranks": ranks, "faults": faults or {}, "log": log}
        return Crew(crew_server, job)

    return start


def curve(out: Path) -> torch.Tensor:
    with (out / "results.csv").open() as file:
        return torch.tensor([list(map(float, row.values())) for row in csv.DictReader(file)])


def flat_weights(out: Path) -> torch.Tensor:
    parameters = load_weights(out / LAST).detector.parameters()
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


def assert_same_training(one: Path, two: Path) -> None:
    """Compare weights and all that was written but figures: those of so short a run are noise."""
    ours, theirs = (torch.cat((c[:, :4], c[:, 8:]), dim=1) for c in (curve(two), curve(one)))
    torch.testing.assert_close(ours, theirs, rtol=5e-3, atol=3e-4)
    ours, theirs = flat_weights(two), flat_weights(one)
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-3, "more than rounding"


@pytest.mark.parametrize(
    ("settings", "short", "pieces"),
    [
        ({"batch": 8, "epochs": 2}, [(0, 0, "forward"), (1, 0, "backward")], 4),
        ({"batch": 4, "nominal_batch": 8, "epochs": 1}, [(0, 1, "backward")], 2),
    ],
    ids=["both passes", "the second batch of a step"],
)
def test_short_memory_in_one_process_halves_the_pieces_in_all(
    crew: Callable[..., Crew],
    words: Words,
    tmp_path: Path,
    settings: dict[str, object],
    short: list[Any],
    pieces: int,
) -> None:
    """The curve is that of one process whose memory was short at the same places."""
    folders = tmp_path / "one", tmp_path / "two"
    for ranks, folder in enumerate(folders, 1):
        running = crew(
            words(folder, lr0=0.001, warmup_epochs=0, **settings),
            ranks,
            {ranks - 1: {"short": short}},
        )
        assert running.end() == [0] * ranks, running.text(0) + running.text(ranks - 1)
        assert running.text().count("memory is short") == len(short)
        assert read_state(folder / STATE)["position"]["pieces"] == pieces
    assert "images at a time in each process" in running.text()
    assert_same_training(*folders)


def test_no_room_for_a_step_in_one_process_halves_the_pieces_in_all(
    crew: Callable[..., Crew], words: Words, tmp_path: Path
) -> None:
    """Nobody makes the step before all can: its batches are learnt anew, once, by all."""
    folders = tmp_path / "one", tmp_path / "two"
    for ranks, folder in enumerate(folders, 1):
        settings = words(folder, lr0=0.001, warmup_epochs=0, batch=4, nominal_batch=8, epochs=2)
        running = crew(settings, ranks, {ranks - 1: {"no_room": 1}})
        assert running.end() == [0] * ranks, running.text(0) + running.text(ranks - 1)
        assert running.text().count("memory is short") == 1
        assert read_state(folder / STATE)["position"]["pieces"] == 2
    assert_same_training(*folders)


def test_pieces_of_unequal_shares_and_one_that_cannot_be_halved(
    crew: Callable[..., Crew], words: Words, tmp_path: Path
) -> None:
    """Of three images in two pieces the second process has one, and lends it to the other piece."""
    short = [(0, 0, "forward"), (1, 1, "backward")]
    running = crew(words(tmp_path / "run", batch=3, epochs=3), faults={1: {"short": short}})
    assert running.end() == [2, 2]
    wanted = "epoch 2, batch 2: memory is short for a single image of 64 pixels. Lower --img"
    for rank in range(2):
        assert wanted in running.text(rank)
        assert "Traceback" not in running.text(rank)
    assert len(curve(tmp_path / "run")) == 1


@pytest.mark.parametrize("what", ["teacher", "sparsity"])
def test_two_processes_learn_as_one(
    crew: Callable[..., Crew], words: Words, tmp_path: Path, what: str
) -> None:
    more: dict[str, object] = {"sparsity": "auto", "epochs": 3}
    if what == "teacher":
        assert crew(words(tmp_path / "teacher", epochs=1), 1).end() == [0]
        weights = tmp_path / "teacher" / LAST
        more = {"teacher": weights, "teacher_features": 3.0, "epochs": 1}
    folders = tmp_path / "one", tmp_path / "two"
    for ranks, folder in enumerate(folders, 1):
        running = crew(words(folder, batch=3, lr0=0.001, warmup_epochs=0, **more), ranks)
        assert running.end() == [0] * ranks, running.text()
    assert_same_training(*folders)


def test_a_loss_that_is_not_finite_in_one_process_is_skipped_by_all(
    crew: Callable[..., Crew], words: Words, tmp_path: Path
) -> None:
    """The second batch is skipped; of the second epoch three in a row, so all go back together."""
    folders = tmp_path / "one", tmp_path / "two"
    for ranks, folder in enumerate(folders, 1):
        running = crew(
            words(folder, epochs=2, lr0=0.001, warmup_epochs=0, save_minutes=0),
            ranks,
            {ranks - 1: {"nan": [1, 4, 5, 6]}},
        )
        assert running.end() == [0] * ranks, running.text(0) + running.text(ranks - 1)
        position = read_state(folder / STATE)["position"]
        assert (position["lr_scale"], position["rollbacks"]) == (0.5, 1)
        assert "3 times in a row: going back to epoch 2, batch 1" in running.text()
        named = re.findall(r"batch 2: loss not finite \((.*)\): not learnt from", running.text())
        assert named[0].count(".png") == 1 if ranks == 2 else named[0].count(".png") == 2
        if ranks == 1:
            both = named[0].split(", ")
        assert named[0].split(", ") == both[ranks - 1 :], "those of the process that found it"
    assert_same_training(*folders)


@pytest.mark.parametrize("rank", [0, 1])
def test_when_one_process_fails_the_other_ends_too(
    crew: Callable[..., Crew], words: Words, tmp_path: Path, rank: int
) -> None:
    running = crew(words(tmp_path / "run", epochs=500), faults={rank: {"bug": 5}})
    codes = running.end()
    assert codes[rank] == 1
    assert "RuntimeError: a bug of ours" in running.text(rank)
    assert codes[1 - rank] == 2
    last = running.text(1 - rank).splitlines()[-1]
    assert last.startswith(f"prunus train: process {1 - rank}: another one (")
    assert last.endswith("has ended or cannot be reached; its own message says why.")
    assert "Traceback" not in running.text(1 - rank)
    assert running.apart() < SOON_SECONDS


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_cannot_read_its_images_is_not_waited_for(
    crew: Callable[..., Crew], words: Words, tmp_path: Path, rank: int
) -> None:
    running = crew(words(tmp_path / "run"), faults={rank: {"slow": 1, "bad_data": True}})
    assert running.end() == [2, 2]
    assert running.text(rank).splitlines()[-1] == "prunus train: data.yaml: is gone. Look for it."
    assert "has ended or cannot be reached" in running.text(1 - rank).splitlines()[-1]
    assert running.apart() < SOON_SECONDS


def test_images_may_be_read_for_longer_than_a_collective_waits(
    crew: Callable[..., Crew], words: Words, tmp_path: Path
) -> None:
    quick = {"timeout": 4}
    faults = {0: {**quick, "slow": 7}, 1: quick}
    running = crew(words(tmp_path / "run", epochs=1), faults=faults)
    assert running.end() == [0, 0], running.text(0) + running.text(1)
    assert min(running.seconds.values()) > 7


def test_a_signal_to_one_or_all_saves_and_resumes_to_the_same_bits(
    crew: Callable[..., Crew], words: Words, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = {"epochs": 3, "save_minutes": 0}
    assert crew(words(whole, **settings)).end() == [0, 0]
    arguments, learnt = words(parts, **settings), 0
    for told in ([1], [0, 1]):
        running = crew(arguments, faults={0: {"phases": ["step"], "pause": 0.1}})
        running.until("phase")
        for rank in told:
            os.kill(running.pids[rank], signal.SIGTERM)
        codes = running.end()
        assert all(codes[rank] == 143 for rank in told), running.text(0) + running.text(1)
        assert set(codes) <= {143, 130}
        assert running.apart() < SOON_SECONDS
        assert f"Go on with: prunus train --resume {parts}" in running.text()
        assert running.phases <= 3, "more than what was left of a step, of two batches"
        learnt += running.phases
        state = read_state(parts / STATE)["position"]
        assert state["epoch"] * 4 + state["batch"] == learnt
        arguments = ["train", "--resume", str(parts)]
    running = crew(arguments, faults={0: {"phases": ["validation"], "pause": 0.5}})
    running.until("phase")
    os.kill(running.pids[1], signal.SIGTERM)
    codes = running.end()
    assert codes[1] == 143
    assert codes[0] == 2, "it cannot be judged without the other's images"
    judged = read_state(parts / STATE)["position"]
    assert (judged["epoch"], judged["batch"]) == (state["epoch"], 4), "what is to be judged"
    assert crew(arguments).end() == [0, 0]
    assert torch.equal(flat_weights(parts), flat_weights(whole))
    assert torch.equal(curve(parts), curve(whole))
