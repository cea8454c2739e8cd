"""`prunus sweep` on this machine: what it writes, and what a death here or there costs."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from prunus.pipeline.sweep.best import best_of_sweep
from prunus.pipeline.sweep.local import OUTCOME
from prunus.pipeline.sweep.table import read_trials
from prunus.pipeline.sweep.trial import WORKER
from prunus.weights.files import load_weights

pytestmark = pytest.mark.integration
QUICK = ("--img", "64", "--calibration", "0", "--workers", "2")
Sweep = Callable[..., int]
Kill = Callable[[Path], Thread]


def test_a_grid_is_computed_judged_timed_drawn_and_reported(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = (*QUICK, "--criterion", "l1,taylor", "--flops", "0.7", "--runtime", "torch")
    assert sweep(*words, "--finetune-epochs", "1", "--out", out) == 0
    trials = read_trials(out)
    dense, l1, taylor = trials
    assert (dense.status, l1.status, taylor.status) == ("done", "done", "failed")
    assert taylor.error is not None
    assert "taylor" in taylor.error
    assert taylor.attempts == 1, "what the trial itself says is not tried again"
    assert l1.flops_share == pytest.approx(0.7, abs=0.02)
    assert l1.speedup == pytest.approx((l1.dense_ms or 0) / (l1.ms or 1))
    assert l1.drop == pytest.approx((dense.map50_95 or 0) - (l1.map50_95 or 0))
    assert l1.weights == "trials/0001/train/best.safetensors"
    assert load_weights(out / l1.weights).detector.names == ("plum", "leaf", "blossom")
    job = json.loads((out / "trials/0001/train/report.json").read_text())["settings"]
    assert job["teacher"] == dense.weights
    with (out / "sweep.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["done", "done", "failed"]
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    assert report["trials"] == {"done": 2, "failed": 1}
    assert {tuple(one["trials"]) for one in report["front"]} <= {(0,), (1,)}
    assert report["failed"][0]["error"] == taylor.error
    assert (out / "pareto.png").stat().st_size > 10_000
    assert "Pareto front, mAP50-95 against milliseconds" in capsys.readouterr().err
    best = best_of_sweep(out)
    assert best.point == l1.point


def test_a_worker_that_is_killed_costs_one_try_and_twice_one_trial(
    sweep: Sweep, kill_worker: Kill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    for folder in ("0001", "0002", "0002-2"):
        kill_worker(out / "trials" / folder)
    assert sweep(*QUICK, "--criterion", "l1", "--flops", "0.6,0.8", "--out", out) == 0
    dense, once, twice = read_trials(out)
    assert (dense.status, dense.attempts) == ("done", 1)
    assert (once.status, once.attempts, once.error) == ("done", 2, None)
    assert once.weights == "trials/0001-2/prune/pruned.safetensors"
    assert (twice.status, twice.attempts) == ("failed", 2)
    assert twice.error == (
        "its worker died (SIGKILL, as when memory is short); see 0002-2/said.txt"
    )
    assert "tried once more" in capsys.readouterr().err

    assert sweep("--resume", out, files=False) == 0, "failed trials are finished"
    assert read_trials(out)[2] == twice
    assert sweep("--resume", out, "--retry-failed", files=False) == 0
    mended = read_trials(out)[2]
    assert (mended.status, mended.attempts, mended.error) == ("done", 3, None)
    assert read_trials(out)[:2] == [dense, once]


def test_a_driver_that_is_killed_loses_the_running_trials_only(
    sweep: Sweep, weights: Path, orchard: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = ["--weights", weights, "--data", orchard, *QUICK, "--workers", "1"]
    words += ["--criterion", "l1", "--flops", "0.5:0.7:0.1", "--out", out]
    driver = subprocess.Popen(
        [sys.executable, "-m", "prunus", "sweep", *map(str, words)], stderr=subprocess.DEVNULL
    )
    second = out / "trials" / "0002" / WORKER
    wait_for(second.is_file)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    orphan = int(second.read_text().split()[1])
    wait_for(lambda: not is_alive(orphan))
    assert not (second.parent / OUTCOME).exists(), "its worker ended with it"
    before = read_trials(out)
    assert [trial.status for trial in before] == ["done", "done", "running", "waiting"]
    assert not (out / "report.json").exists()

    assert sweep(*words[4:], "--workers", "2") == 0, "the same --out goes on"
    after = read_trials(out)
    assert [trial.status for trial in after] == ["done"] * 4
    assert after[:2] == before[:2]
    assert [trial.attempts for trial in after] == [1, 1, 2, 1]
    assert after[2].weights == "trials/0002-2/prune/pruned.safetensors"
    assert not (out / "trials" / "0002").exists(), "what the killed one left is gone"
    assert json.loads((out / "report.json").read_text())["trials"] == {"done": 4}


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end, "waited for two minutes"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.is_file() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_another_sweep_is_not_taken_for_the_same(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = (*QUICK, "--criterion", "l1", "--out", out, "--quiet")
    assert sweep(*words, "--flops", "0.7") == 0
    once = read_trials(out)
    assert sweep(*words, "--flops", "0.8") == 2
    error = capsys.readouterr().err
    assert "--flops: the sweep in" in error
    assert "has (0.7,), not (0.8,). Leave it out to go on" in error
    assert sweep("--resume", out, "--trials", "5", files=False) == 2
    assert sweep("--resume", tmp_path, files=False) == 2
    assert "holds no sweep.sqlite. Give the folder" in capsys.readouterr().err
    assert sweep("--resume", out, "--dry-run", "--price", "2", files=False) == 0
    assert read_trials(out) == once


def test_a_dry_run_counts_and_writes_nothing(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ("--criterion", "l1,l2", "--flops", "0.5:0.8:0.1", "--seeds", "3", "--price", "0.05")
    assert sweep(*QUICK, *words, "--dry-run", "--json", "--out", out) == 0
    said = capsys.readouterr()
    facts = json.loads(said.out)
    assert facts["trials"] == 2 * 4 * 3
    assert facts["seconds_per_trial"] >= 5
    assert facts["core_hours"] == pytest.approx(24 * facts["seconds_per_trial"] / 3600, rel=0.05)
    assert facts["cost"] == pytest.approx(facts["core_hours"] * 0.05, rel=0.05)
    assert facts["hours"] == pytest.approx(facts["core_hours"] / 2, rel=0.05)
    assert "24 trials x" in said.err
    assert not out.exists()


def test_a_search_runs_and_grows(sweep: Sweep, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    out = tmp_path / "run"
    words = (*QUICK, "--criterion", "l1,l2", "--flops", "0.5,0.8")
    assert sweep(*words, "--trials", "2", "--out", out) == 0
    first = read_trials(out)
    assert [trial.status for trial in first] == ["done"] * 3
    assert sweep("--resume", out, "--trials", "3", files=False) == 0
    grown = read_trials(out)
    assert grown[:3] == first
    assert grown[3].status == "done"
