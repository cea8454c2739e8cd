"""Ctrl-C and SIGTERM ask the training to stop at a good moment; a second one stops it at once."""

import os
import signal
import threading
from types import FrameType, TracebackType

from prunus.core.console import log

SIGNALS = (signal.SIGINT, signal.SIGTERM)
EXIT_BY_SIGNAL = 128
"""Added to the signal's number: the shells' convention for an exit status."""


class Interrupt:
    """A context in which the first signal only sets a flag.

    Does nothing outside the main thread, where Python allows no signal handlers.
    """

    def __init__(self) -> None:
        self._received, self._owner = False, os.getpid()
        self._previous: dict[signal.Signals, object] = {}

    def requested(self) -> bool:
        return self._received

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal returned

    def _receive(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._owner:  # a forked loader: its parent tells it when to end
            os._exit(EXIT_BY_SIGNAL + number)
        if self._received:
            raise KeyboardInterrupt
        self._received = True
        log.info("%s: finishing this step, then saving", signal.Signals(number).name)
