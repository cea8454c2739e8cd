"""A local Ray cluster of two workers, one of which is killed in the middle; and what is refused."""

import signal
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from prunus.core.errors import ConfigError
from prunus.pipeline.sweep import cluster
from prunus.pipeline.sweep.plan import Files
from prunus.pipeline.sweep.table import read_trials

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.integration


def test_a_killed_worker_of_a_local_cluster_costs_one_try(
    sweep: Callable[..., int],
    kill_worker: Callable[[Path], Thread],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    kill_worker(out / "trials" / "0002")
    words = ("--img", "64", "--calibration", "0", "--criterion", "l1", "--flops", "0.5:0.8:0.1")
    assert sweep(*words, "--ray", "local", "--workers", "2", "--out", out) == 0
    trials = read_trials(out)
    assert [trial.status for trial in trials] == ["done"] * 5
    assert [trial.attempts for trial in trials] == [1, 1, 2, 1, 1]
    error = capsys.readouterr().err
    assert "trial 2: its worker died: " in error
    assert "tried once more" in error
    assert len({trial.worker for trial in trials}) >= 2
    assert not ray.is_initialized()


def test_a_cluster_that_is_not_there_is_refused(
    sweep: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--img", "64", "--flops", "0.5", "--quiet")
    for number, address in enumerate(("127.0.0.1:1", "nowhere")):
        assert sweep(*words, "--ray", address, "--out", tmp_path / f"run{number}") == 2
        error = capsys.readouterr().err
        assert f"--ray: {address}: no cluster answers there: " in error
        assert error.count("\n") == 1


def test_what_a_machine_does_not_see_is_told(tmp_path: Path, orchard: Path, weights: Path) -> None:
    from prunus.pipeline.sweep.cluster import differences, facts_of

    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text("a: 1\n")
    here = Files(weights, orchard, folder)
    facts = facts_of(here)
    assert not differences(here, facts)
    assert "run2/config.yaml: no such file" in differences(
        Files(weights, orchard, tmp_path / "run2"), facts
    )
    assert "d.yaml: no such file" in differences(Files(weights, tmp_path / "d.yaml", folder), facts)
    (folder / "config.yaml").write_text("a: 2\n")
    assert "config.yaml is another one than on the driver's machine" in differences(here, facts)
    assert differences(here, {"prunus": "0.0.1"}).startswith("prunus is another one")


def test_without_ray_the_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from prunus.pipeline.sweep.cluster import RayWorkers

    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ConfigError, match=r"--ray: needs Ray. Install it with: pip install 'pru"):
        RayWorkers("local", 2)


def test_what_ray_does_to_sigterm_is_undone() -> None:
    with cluster._own_sigterm():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
