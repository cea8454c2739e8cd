"""An engine in a process of its own: what a foreign file does to its runtime stays there."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing import Pipe
from typing import Any

import numpy as np

from prunus.core.memory import available_bytes
from prunus.export.engines import Candidates, EngineError, Options, Pictures, plain
from prunus.export.engines.shared import SharedArray, nameless_file

MEMORY_SHARE = 0.8
"""Of the memory that is left, that the process may take."""
START_S, RUN_S, DEATH_S = 120.0, 300.0, 5.0
"""Seconds after which a process counts as hanging: yolov5x6 starts in 5 and runs in 10."""
ANSWER_BYTES = 10_000
PIXELS_A_CANDIDATE = 8
"""A detector puts out no more candidates: YOLOv5 has three for each 8 x 8 pixels, and a third."""
WORKER = f"""
import sys
sys.path[:] = sys.argv.pop(1).split({os.pathsep!r})
from {__package__}.worker import main
main(*map(int, sys.argv[1:]))
"""
"""Not `-m`, which would import from the current folder before all others."""


class ChildEngine:
    """An engine that runs in a process of its own; ends with this object.

    Attributes:
        wall_ms: What the last call took in there, without the way to and fro.
        own_ms: Of it what the process itself computed, in all of its threads.
        peak_bytes: The process's largest resident size so far.
    """

    def __init__(self, name: str, content: Sequence[bytes], options: Options) -> None:
        """Start the process and in it the engine; the arguments are those of `start_engine`.

        Raises:
            EngineError: The runtime refuses the file, or died of it.
        """
        self.wall_ms, self.own_ms, self.peak_bytes = 0.0, 0.0, 0
        self._lock = threading.Lock()
        self._connection, theirs = Pipe()
        files = [nameless_file(), nameless_file()]
        self._pictures, self._candidates = map(SharedArray, files)
        shared = [theirs.fileno(), *files]
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, os.pathsep.join(sys.path), *map(str, shared)],
            pass_fds=shared,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # nothing of a runtime's chatter reaches our output
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        weakref.finalize(self, _end, self._process, files)
        order = {
            "engine": name,
            "files": len(content),
            "options": asdict(options),
            "memory_bytes": _allowed_bytes(),
        }
        self._tell(json.dumps(order).encode(), *content)
        self._answer(START_S)

    def __call__(self, images: Pictures) -> Candidates:
        """Return the candidates; see `engines.Engine`. Threads wait for each other."""
        with self._lock:
            try:
                return self._run(images)
            except BaseException:  # such as Ctrl-C: a late answer must not be taken for the next
                self._process.kill()
                raise

    def _run(self, images: Pictures) -> Candidates:
        self._pictures.write(images)
        self._tell(json.dumps(images.shape).encode())
        answer = self._answer(RUN_S)
        try:
            self.wall_ms, self.own_ms = float(answer["wall_ms"]), float(answer["own_ms"])
            self.peak_bytes = int(answer["peak_bytes"])
            shape = [int(side) for side in answer["shape"]]
            if math.prod(shape[:2]) * PIXELS_A_CANDIDATE > images.size:
                raise EngineError(f"puts out {shape[:2]} candidates, more than any detector")
            shared = self._candidates.read(shape, np.float32)
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise EngineError("its process told of what it did not write") from error
        found: Candidates = np.array(shared, dtype=np.float32)
        return found

    def _tell(self, *messages: bytes) -> None:
        try:
            for message in messages:
                self._connection.send_bytes(message)
        except OSError as error:
            raise EngineError(self._death()) from error

    def _answer(self, seconds: float) -> dict[str, Any]:
        try:
            if not self._connection.poll(seconds):
                self._process.kill()
                raise EngineError(f"the runtime did not answer in {seconds:.0f} s and was stopped")
            answer = json.loads(self._connection.recv_bytes(ANSWER_BYTES))
        except (EOFError, OSError) as error:
            raise EngineError(self._death()) from error
        except ValueError as error:
            raise EngineError("its process answered nonsense") from error
        if not isinstance(answer, dict) or "error" in answer:
            raise EngineError(plain(str(answer["error"] if isinstance(answer, dict) else answer)))
        return answer

    def _death(self) -> str:
        """Say how the process ended."""
        try:
            code = self._process.wait(DEATH_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return "its process fell silent and was stopped"
        how = f"exit code {code}" if code >= 0 else _signal_name(-code)
        return f"the runtime crashed on it ({how}); nothing else was harmed. Export it again"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names
        return f"signal {number}"


def _end(process: "subprocess.Popen[bytes]", files: Sequence[int]) -> None:
    process.kill()
    process.wait()
    for file in files:
        os.close(file)


def _allowed_bytes() -> int:
    """Return the memory that the process may take: a share of what the machine or container has."""
    free = available_bytes()
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(MEMORY_SHARE * (total if free is None else free))
