"""An engine in a process of its own: what a foreign file does to its runtime stays there."""

import json
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing import Pipe
from typing import Any

import numpy as np

from prunus.export.engines import Candidates, EngineError, Options, Pictures
from prunus.export.engines.shared import SharedArray, nameless_file

MEMORY_SHARE = 0.8
"""Of the machine's memory, that the process may take."""
START_S, RUN_S = 120.0, 300.0
"""Seconds after which a process counts as hanging: yolov5x6 starts in 5 and runs in 10."""


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
        self._connection, theirs = Pipe()
        files = [nameless_file(), nameless_file()]
        self._pictures, self._candidates = map(SharedArray, files)
        shared = [theirs.fileno(), *files]
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker", *map(str, shared)],
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
            "memory_bytes": int(MEMORY_SHARE * _machine_bytes()),
        }
        self._tell(json.dumps(order).encode(), *content)
        self._answer(START_S)

    def __call__(self, images: Pictures) -> Candidates:
        """Return the candidates; see `engines.Engine`."""
        self._pictures.write(images)
        self._tell(json.dumps(images.shape).encode())
        answer = self._answer(RUN_S)
        self.wall_ms, self.own_ms = answer["wall_ms"], answer["own_ms"]
        self.peak_bytes = answer["peak_bytes"]
        try:
            shared = self._candidates.read(answer["shape"], np.float32)
        except (ValueError, OSError) as error:
            raise EngineError("its process told of more than it wrote") from error
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
            answer: dict[str, Any] = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise EngineError(self._death()) from error
        if "error" in answer:
            raise EngineError(str(answer["error"]))
        return answer

    def _death(self) -> str:
        """Say how the process ended."""
        code = self._process.wait()
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        return f"the runtime crashed on it ({how}); nothing else was harmed. Export it again"


def _end(process: "subprocess.Popen[bytes]", files: Sequence[int]) -> None:
    process.kill()
    process.wait()
    for file in files:
        os.close(file)


def _machine_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
