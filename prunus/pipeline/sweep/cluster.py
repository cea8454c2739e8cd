"""Trials on a Ray cluster: a task each, one core a task, tried again by the driver and not by Ray.

Weights, data set and the sweep's folder have to lie at the same path on every machine; that is
looked at before the first trial.
"""

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from prunus.core.errors import ConfigError, PrunusError
from prunus.core.files import sha256
from prunus.core.machine import package_versions
from prunus.core.runs import CONFIG
from prunus.pipeline.sweep.local import JOB
from prunus.pipeline.sweep.plan import Files
from prunus.pipeline.sweep.trial import Job, Outcome, attempt
from prunus.pipeline.sweep.workers import Ending

LOCAL, AUTO = "local", "auto"
"""Addresses that start a cluster on this machine, and that find the one that it belongs to."""
KNOCK_S = 10.0
CORES = "CPU"


class RayWorkers:
    """See `workers.Workers`."""

    def __init__(self, address: str, count: int | None) -> None:
        """Join a cluster, or start one here.

        Args:
            address: HOST:PORT, ray://HOST:PORT, auto for the one of this machine, or local.
            count: Trials at a time; None for one a core of the cluster.

        Raises:
            ConfigError: Ray is not installed, or no cluster answers.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._ray = _import_ray()
        self._count = count
        here: dict[str, Any] = {}
        if address == LOCAL:
            here = {"num_cpus": count, "include_dashboard": False}
        try:
            _knock(address)
            with _own_sigterm():
                self._ray.init(address, log_to_driver=False, logging_level="error", **here)
        except (RuntimeError, ValueError, OSError) as error:
            _refuse(f"{address}: no cluster answers there: {_first_line(error)}")
        self._attempt = self._ray.remote(num_cpus=1, max_retries=0)(attempt)
        self._running: dict[Any, int] = {}

    @property
    def count(self) -> int:
        return self._count or max(int(self._ray.cluster_resources().get(CORES, 0)), 1)

    def check(self, files: Files) -> None:
        """Look at the files from every machine that has cores.

        Raises:
            ConfigError: A machine does not see the same, or runs another version.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        facts = facts_of(files)
        look = self._ray.remote(num_cpus=0, max_retries=0)(differences)
        answers = {
            node["NodeManagerAddress"]: look.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(files, facts)
            for node in self._ray.nodes()
            if node["Alive"] and node["Resources"].get(CORES)
        }
        if not answers:
            _refuse("the cluster has no machine with cores. Start workers with `ray start`")
        for machine, answer in answers.items():
            try:
                difference = self._ray.get(answer)
            except self._ray.exceptions.RayError as error:
                difference = _first_line(error)
            if difference:
                _refuse(f"machine {machine}: {difference}")

    def start(self, job: Job) -> None:
        folder = Path(job["folder"])
        folder.mkdir(parents=True)
        (folder / JOB).write_text(json.dumps(job, indent=2), "utf-8")
        self._running[self._attempt.remote(job)] = int(job["number"])

    def wait(self) -> Ending:
        (reference, *_), _ = self._ray.wait(list(self._running), num_returns=1)
        number = self._running.pop(reference)
        try:
            outcome: Outcome = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return Ending(number, None, f"its worker died: {_first_line(error)}")
        return Ending(number, outcome)

    def close(self) -> None:
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()
        self._ray.shutdown()


def _knock(address: str) -> None:
    """Look whether somebody is at home: Ray itself would wait for minutes.

    Raises:
        OSError: Nobody is.
        ValueError: It is no address.
    """
    if address in (LOCAL, AUTO):
        return
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        raise ValueError("write HOST:PORT, ray://HOST:PORT, auto or local")
    socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep what this process does at SIGTERM: Ray puts a handler of its own there."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "--ray: needs Ray. Install it with: pip install 'prunus[sweep]'"
        ) from error
    return ray


def facts_of(files: Files) -> dict[str, str]:
    """Return what has to be the same on every machine."""
    from prunus.data.spec import read_data

    read_data(files.data)
    return {
        "prunus": package_versions()["prunus"],
        str(files.weights): sha256(files.weights),
        str(files.data): sha256(files.data),
        str(files.folder / CONFIG): sha256(files.folder / CONFIG),
    }


def differences(files: Files, expected: dict[str, str]) -> str:
    """Say what a machine lacks; "" if nothing."""
    try:
        found = facts_of(files)
    except FileNotFoundError as error:
        return f"{error.filename}: no such file there"
    except PrunusError as error:
        return _first_line(error).rstrip(".")
    return "; ".join(
        f"{name} is another one than on the driver's machine ({found[name][:12]}, "
        f"{expected[name][:12]})"
        for name in expected
        if found[name] != expected[name]
    )


def _refuse(problem: str) -> NoReturn:
    raise ConfigError(
        f"--ray: {problem}. Weights, data set and --out have to lie at the same path on every "
        "machine, as on a shared folder, with the same version of prunus."
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip()
