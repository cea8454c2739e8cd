"""Forks processes that train together, for each line of JSON on standard input. See `victim.py`.

Not a test. A job has `arguments` of the `prunus` command, how many `ranks` get them, and by rank
the `faults` that happen there: the keywords of `befall`. No torchrun stands over them, so they have
to notice by themselves that another one has ended. The output of each goes to the job's `log`, with
its number behind; how each ended, and when, are lines of JSON.
"""

import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from multiprocessing.util import _exit_function
from typing import Any

import torch
from victim import announce, say, wrap

from prunus.cli.main import main
from prunus.core import distributed
from prunus.core.errors import DataError
from prunus.model.loss import DetectionLoss, LossTerms
from prunus.train import room, start
from prunus.train.engine import Engine

Place = tuple[int, int, str]
PATIENCE_SECONDS = 60
POLL_SECONDS = 0.02


def befall(
    *,
    short: list[Place] = (),  # type: ignore[assignment]
    no_room: int | None = None,
    nan: list[int] = (),  # type: ignore[assignment]
    bug: int | None = None,
    bad_data: bool = False,
    slow: float = 0.0,
    timeout: float = 0.0,
    phases: list[str] = (),  # type: ignore[assignment]
    pause: float = 0.0,
) -> None:
    """Let faults happen.

    Args:
        short: Epoch, batch and pass, in the midst of which memory is short, once each.
        no_room: The number of the optimizer step for which memory is short, once.
        nan: Losses while training, by number, that are NaN.
        bug: The number of the batch whose step raises what no user can mend.
        bad_data: Whether the images cannot be read.
        slow: Seconds that it takes to read them.
        timeout: Seconds that a collective waits.
        phases: As in `victim.announce`.
        pause: The same.
    """
    if short:
        run_short_of_memory([(epoch, batch, where) for epoch, batch, where in short])
    if no_room is not None:
        wrap(room, "make_room", on_call(no_room, torch.OutOfMemoryError("CUDA out of memory.")))
    if nan:
        spoil_losses(set(nan))
    if bug is not None:
        wrap(Engine, "_learn", on_call(bug, RuntimeError("a bug of ours")))
    if bad_data:
        wrap(start, "read_splits", on_call(0, DataError("data.yaml: is gone. Look for it.")))
    if slow:
        wrap(start, "read_splits", lambda: time.sleep(slow))
    if timeout:
        distributed.TIMEOUT = timedelta(seconds=timeout)
    for phase in phases:
        announce(phase, pause)


def on_call(number: int, error: Exception) -> Callable[[], None]:
    calls = iter(range(10_000))

    def check() -> None:
        if next(calls) == number:
            raise error

    return check


def run_short_of_memory(places: list[Place]) -> None:
    """Raise in the tenth of the detector's rows, where more were to come."""
    real = Engine.__post_init__

    def fail(_gradient: Any = None) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    def made(engine: Engine) -> None:
        real(engine)

        def check(module: torch.nn.Module, _: Any, output: torch.Tensor) -> None:
            for where in ("forward", "backward"):
                place = (engine.position.epoch, engine.position.batch, where)
                if module.training and place in places:
                    places.remove(place)
                    fail() if where == "forward" else output.register_hook(fail)

        engine.detector.model[9].register_forward_hook(check)

    Engine.__post_init__ = made  # type: ignore[method-assign]


def spoil_losses(numbers: set[int]) -> None:
    real, calls = DetectionLoss.__call__, iter(range(10_000))

    def spoilt(loss: DetectionLoss, *given: Any) -> LossTerms:
        terms = real(loss, *given)
        if torch.is_grad_enabled() and next(calls) in numbers:
            return replace(terms, box=terms.box * float("nan"))
        return terms

    DetectionLoss.__call__ = spoilt  # type: ignore[method-assign]


def be(rank: int, job: dict[str, Any], port: int) -> None:
    """Be one of the processes; does not return."""
    os.setsid()
    log = os.open(f"{job['log']}.{rank}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if job["ranks"] > 1:
        os.environ.update(
            RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(job["ranks"]),
            MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
        )  # fmt: skip
    befall(**job.get("faults", {}).get(str(rank), {}))
    status = 1
    try:
        status = main(job["arguments"])
    except SystemExit as stop:
        status = int(stop.code or 0)
    finally:
        if sys.exc_info()[1] is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        _exit_function()
        os._exit(status)


def attend(pids: list[int]) -> None:
    """Say how each process ended, and when; end those that do not."""
    alive, began = dict(enumerate(pids)), time.monotonic()
    while alive:
        for rank, pid in list(alive.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                del alive[rank]
                code = os.waitstatus_to_exitcode(status)
                say(rank=rank, code=code, seconds=time.monotonic() - began)
        if time.monotonic() - began > PATIENCE_SECONDS:
            for pid in alive.values():
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
    say(ended=True)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def serve() -> None:
    torch.set_num_threads(1)
    say(ready=True)
    for line in sys.stdin:
        job, port, pids = json.loads(line), free_port(), []
        for rank in range(job["ranks"]):
            pids.append(os.fork())
            if pids[-1] == 0:
                be(rank, job, port)
        say(pids=pids)
        attend(pids)


if __name__ == "__main__":
    serve()
