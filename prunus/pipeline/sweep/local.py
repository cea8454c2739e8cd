"""Trials on this machine's cores: a process each, so that one that dies costs one trial."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from prunus.core.files import write_json
from prunus.pipeline.sweep.trial import ONE_THREAD, Job, attempt
from prunus.pipeline.sweep.workers import Ending

JOB, OUTCOME, SAID = "job.json", "outcome.json", "said.txt"
LOOK_EVERY_S = 0.05
PROGRAM = f"""
import sys
sys.path[:] = sys.argv.pop(1).split({os.pathsep!r})
from {__name__} import main
main(sys.argv[1])
"""
"""Not `-m`, which would import from the current folder before all others."""


class LocalWorkers:
    """See `workers.Workers`."""

    def __init__(self, count: int | None) -> None:
        """Take so many cores; None for all that this process may use."""
        self.count = count or cores()
        self._running: dict[int, tuple[subprocess.Popen[bytes], Path]] = {}

    def start(self, job: Job) -> None:
        folder = Path(job["folder"])
        folder.mkdir(parents=True)
        write_json(folder / JOB, job)
        with (folder / SAID).open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, os.pathsep.join(sys.path), str(folder)],
                stdin=subprocess.PIPE,  # closed when this process ends, however it ends
                stdout=said,
                stderr=said,
                env={**os.environ, **ONE_THREAD},
                start_new_session=True,  # Ctrl-C is for the driver
            )
        self._running[int(job["number"])] = (process, folder)

    def wait(self) -> Ending:
        while True:
            for number, (process, folder) in self._running.items():
                if process.poll() is not None:
                    del self._running[number]
                    return _ending(number, process, folder)
            time.sleep(LOOK_EVERY_S)

    def close(self) -> None:
        for process, _ in self._running.values():
            process.kill()
            process.wait()
        self._running.clear()


def cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def main(folder: str) -> None:
    """Run the job of a folder in this process, and leave its outcome there."""
    threading.Thread(target=_end_with_the_driver, daemon=True).start()
    place = Path(folder)
    write_json(place / OUTCOME, attempt(json.loads((place / JOB).read_text("utf-8"))))


def _end_with_the_driver() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def _ending(number: int, process: "subprocess.Popen[bytes]", folder: Path) -> Ending:
    if process.stdin is not None:
        process.stdin.close()
    path = folder / OUTCOME
    if path.is_file():
        return Ending(number, json.loads(path.read_text("utf-8")))
    code = process.returncode
    how = f"exit code {code}" if code >= 0 else _signal_name(-code)
    return Ending(number, None, f"its worker died ({how}); see {folder.name}/{SAID}")


def _signal_name(code: int) -> str:
    try:
        name = signal.Signals(code).name
    except ValueError:  # real-time signals have no names
        name = f"signal {code}"
    return f"{name}, as when memory is short" if code == signal.SIGKILL else name
