"""What runs in a worker process: wait for a key, make its batch, send it. Ends with its parent."""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable, Hashable
from contextlib import suppress
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from typing import NamedTuple

import cv2
import torch

from prunus.core.errors import PrunusError
from prunus.data.slots import Made, Shelf

DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux's prctl.h."""


class Failed(NamedTuple):
    """No batch was made."""

    reason: str
    trace: str = ""


def serve(
    make: Callable[[Hashable], Made], questions: Connection, other_end: Connection, shelf: Shelf
) -> None:
    """Answer (key, slot) until the parent is gone.

    A PrunusError is an answer as well: it keeps its one line. Any other exception is a `Failed`.
    """
    _start()
    with suppress(OSError):
        other_end.close()  # a forked child has the parent's end too, and would never see it closed
    with suppress(EOFError, OSError):
        while True:
            key, slot = questions.recv()
            questions.send(_answer(make, key, shelf, slot))


def _answer(make: Callable[[Hashable], Made], key: Hashable, shelf: Shelf, slot: int) -> object:
    try:
        return shelf.pack(make(key), slot)
    except PrunusError as error:
        return error
    except Exception as error:  # noqa: BLE001 - told to the parent, with its traceback
        return Failed(f"raised {type(error).__name__}", traceback.format_exc())


def _start() -> None:
    """Use one thread, and leave it to the parent to decide when to end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # sent to a whole group: the parent wants its batches
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
        parent = parent_process()
        if parent is not None and os.getppid() != parent.pid:  # it died before that
            os._exit(1)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
