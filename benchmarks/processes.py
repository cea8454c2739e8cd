"""CPU seconds and memory of a process and all that it has started, of Linux."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

SAMPLE_SECONDS = 0.1


class MemoryPeak:
    """A context that watches how much memory a process tree takes; shared pages count once.

    Attributes:
        megabytes: The largest so far.
    """

    def __init__(self, root: int | None = None) -> None:
        """Watch process number `root`, or this one."""
        self.megabytes = 0.0
        self._root, self._stop = root or os.getpid(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryPeak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            now = sum(map(_proportional_megabytes, family(self._root)))
            self.megabytes = max(self.megabytes, now)


def family(root: int) -> Iterator[int]:
    """Yield a process and all that it has started and that still run."""
    yield root
    try:
        text = Path(f"/proc/{root}/task/{root}/children").read_text(encoding="utf-8")
    except OSError:  # it has ended
        return
    for child in text.split():
        yield from family(int(child))


def cpu_seconds(root: int | None = None) -> float:
    """Return CPU seconds so far of a process tree, and of its children that have ended."""
    ticks = 0
    for process in family(root or os.getpid()):
        try:
            text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
        except OSError:  # it has ended
            continue
        ticks += sum(int(value) for value in text.rsplit(")", 1)[1].split()[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _proportional_megabytes(process: int) -> float:
    """Return a process's memory, each shared page divided among those who share it."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:  # it has ended
        return 0.0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024
