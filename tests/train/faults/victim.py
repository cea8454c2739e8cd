"""Forks a victim for each line of JSON on standard input, so that faults cost no start-up time.

Not a test. A job either has `arguments` of the `prunus` command, or `saves`: a folder to write
three states into. `kill_at` kills the victim at that write boundary, `kill_after` that many seconds
after its first optimizer step. What a victim says of itself, and how it ended, are lines of JSON;
its own output goes to the job's `log`.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.util import _exit_function
from pathlib import Path
from typing import Any

import torch
import torch.utils.tensorboard  # noqa: F401 - imported once here, not in every victim

import prunus.pipeline.train  # noqa: F401 - the same
from prunus.cli.main import main
from prunus.train import sealed, session, validate
from prunus.train.checkpoint import PREVIOUS, STATE
from prunus.train.engine import Engine

PHASES: dict[str, tuple[Any, str]] = {
    "data": (session.TrainingImages, "epoch"),
    "step": (Engine, "_learn"),
    "validation": (validate.LossRunner, "_run"),
    "save": (sealed, "write_atomically"),
}
TENSOR = 4096
SAVES = 3
_out = os.dup(1)


def say(**facts: object) -> None:
    os.write(_out, (json.dumps(facts) + "\n").encode())


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Boundaries:
    """Counts the moments before and after each change to the disk, and dies at one of them."""

    def __init__(self, kill_at: int) -> None:
        self.count, self._kill_at = 0, kill_at
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "chmod")):
            self._watch(owner, name)
        self._watch_writes()

    def pass_one(self) -> None:
        self.count += 1
        if self.count == self._kill_at:
            die()

    def _watch(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            self.pass_one()
            result = real(*args, **kwargs)
            self.pass_one()
            return result

        setattr(owner, name, watched)

    def _watch_writes(self) -> None:
        """Write in thirds, with a boundary after each."""
        real, boundaries = Path.open, self

        class InThirds:
            def __init__(self, file: Any) -> None:
                self._file = file

            def write(self, data: Any) -> None:
                view = memoryview(data)
                third = -(-len(view) // 3)
                for start in range(0, len(view), third):
                    self._file.write(view[start : start + third])
                    self._file.flush()
                    boundaries.pass_one()

            def __enter__(self) -> "InThirds":
                return self

            def __exit__(self, *_: object) -> None:
                self._file.close()

        def opened(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            file = real(path, mode, *args, **kwargs)
            return InThirds(file) if mode == "wb" else file

        Path.open = opened  # type: ignore[method-assign, assignment]


def wrap(owner: Any, name: str, before: Callable[[], None]) -> None:
    real = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        before()
        return real(*args, **kwargs)

    setattr(owner, name, wrapped)


def announce(phase: str, pause: float) -> None:
    """Say when a phase begins, and give the parent time to send a signal."""

    def before() -> None:
        say(phase=phase)
        time.sleep(pause)

    wrap(*PHASES[phase], before)


def kill_after(seconds: float) -> None:
    """Die so long after the first step began, wherever that is."""
    timer = threading.Timer(seconds, die)
    timer.daemon = True
    wrap(Engine, "_step", lambda: None if timer.ident else timer.start())


def save_states(folder: Path) -> int:
    """Write three states, and say after each that it is safe."""
    for number in range(1, SAVES + 1):
        content = {"number": number, "tensor": torch.full((TENSOR,), float(number))}
        sealed.write_sealed(folder / STATE, content, folder / PREVIOUS)
        say(saved=number)
    return 0


def run(job: dict[str, Any]) -> None:
    """Be the victim; does not return."""
    os.setsid()
    log = os.open(job["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for phase in job.get("phases", ()):
        announce(phase, job.get("pause", 0.0))
    if "kill_after" in job:
        kill_after(job["kill_after"])
    boundaries = Boundaries(job["kill_at"]) if "kill_at" in job else None
    status = 1
    try:
        status = save_states(Path(job["saves"])) if "saves" in job else main(job["arguments"])
    except SystemExit as stop:
        status = int(stop.code or 0)
    finally:
        if boundaries is not None:
            say(boundaries=boundaries.count)
        sys.stderr.flush()
        _exit_function()  # what Python does at the end of any process; `os._exit` does not
        os._exit(status)


def serve() -> None:
    torch.set_num_threads(1)
    say(ready=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(json.loads(line))
        say(pid=child)
        _, status = os.waitpid(child, 0)
        say(status=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    serve()
