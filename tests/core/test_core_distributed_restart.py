"""Processes that are started anew find each other, though the store still knows the dead ones."""

import os
import time
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

import pytest
import torch.distributed as dist

from prunus.core.distributed import RESTARTS, processes

pytestmark = pytest.mark.integration
PROCESSES = 2
DIED = 7
LATE, SECONDS_LATE = 1, 2.0
"""Of the second start one comes so late that the other could only find its dead predecessor."""


def take_part(rank: int, port: int, restart: int, results: Any) -> None:
    """Hear who is there; of the first start, die without a word to the store."""
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(PROCESSES), LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port), TORCHELASTIC_USE_AGENT_STORE="True", **{RESTARTS: str(restart)},
    )  # fmt: skip
    if (restart, rank) == (1, LATE):
        time.sleep(SECONDS_LATE)
    with processes("cpu") as together:
        results.put(together.gather((restart, rank)))
        if restart == 0:
            os._exit(DIED)


def start_all(port: int, restart: int, results: Any) -> list[int | None]:
    context = get_context("forkserver")
    context.set_forkserver_preload(["torch.distributed"])
    started: list[BaseProcess] = [
        context.Process(target=take_part, args=(rank, port, restart, results))
        for rank in range(PROCESSES)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
        process.kill()
    return [process.exitcode for process in started]


def test_a_restart_does_not_call_those_who_have_died() -> None:
    """As under torchrun, whose own store outlives the processes."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    results = get_context("forkserver").SimpleQueue()
    assert start_all(store.port, 0, results) == [DIED] * PROCESSES
    assert start_all(store.port, 1, results) == [0] * PROCESSES
    heard = [results.get() for _ in range(2 * PROCESSES)]
    assert heard == [[(number, rank) for rank in range(PROCESSES)] for number in (0, 0, 1, 1)]
