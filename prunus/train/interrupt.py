"""Ctrl-C and SIGTERM ask the training to stop at a good moment; a second one stops it at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import NoReturn

from prunus.core.console import log

SIGNALS = (signal.SIGINT, signal.SIGTERM)
EXIT_BY_SIGNAL = 128
"""Added to the signal's number: the shells' convention for an exit status."""


class Interrupt:
    """A context in which the first signal only sets a flag.

    Does nothing outside the main thread, where Python allows no signal handlers.
    """

    def __init__(self) -> None:
        self._received: signal.Signals | None = None
        self._owner, self._at_once = os.getpid(), False
        self._previous: dict[signal.Signals, object] = {}

    def requested(self) -> bool:
        """Return whether a signal has come."""
        return self._received is not None

    def leave(self) -> NoReturn:
        """End the process's work as the signal asked.

        Raises:
            KeyboardInterrupt: By Ctrl-C; the command line exits with 130.
            SystemExit: By SIGTERM, with 143.
        """
        if self._received == signal.SIGTERM:
            raise SystemExit(EXIT_BY_SIGNAL + signal.SIGTERM)
        raise KeyboardInterrupt

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let the first signal end the work too: for what can be repeated without loss."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

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
        if os.getpid() != self._owner:  # a forked process: its parent tells it when to end
            os._exit(EXIT_BY_SIGNAL + number)
        first, self._received = self._received is None, signal.Signals(number)
        if self._at_once or not first:
            self.leave()
        with suppress(RuntimeError):  # the signal came in the middle of another line
            log.info("%s: finishing this step, then saving", self._received.name)
