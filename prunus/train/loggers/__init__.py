"""Who is told of each epoch: TensorBoard always, and the trackers that `--loggers` names.

A logger is one file here and its line in LOGGERS. Trackers are extras: pip install prunus[mlflow].
"""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from functools import partial
from types import TracebackType

from prunus.core.console import log
from prunus.core.errors import ConfigError, suggest
from prunus.train.loggers.contract import Histograms, Logger, RunFacts, with_identity

__all__ = ["LOGGERS", "Board", "RunFacts", "check_loggers", "open_loggers"]

LOGGERS: dict[str, str] = {
    "tensorboard": "prunus.train.loggers.tensorboard",
    "mlflow": "prunus.train.loggers.mlflow",
    "wandb": "prunus.train.loggers.wandb",
    "trackio": "prunus.train.loggers.trackio",
}
"""Name → module with `open_logger(facts) -> Logger`; imported when it is wanted."""
ALWAYS = "tensorboard"
FAILURES_IN_A_ROW = 3
"""A logger that fails so often is told no more: a server that is down costs seconds each time."""

Attempt = Callable[[Callable[[], object]], None]


def _insist(write: Callable[[], object]) -> None:
    write()


class Board:
    """All loggers of a run, told the same; what they print goes to stderr."""

    def __init__(
        self, loggers: Mapping[str, Logger] | None = None, attempt: Attempt = _insist
    ) -> None:
        """Prepare.

        Args:
            loggers: By name.
            attempt: Calls what it is given and decides what an OSError or PrunusError of one logger
                means. As it is: it is raised when the others have been told.
        """
        self._loggers, self._attempt = dict(loggers or {}), attempt
        self._failures = dict.fromkeys(self._loggers, 0)

    def add_scalars(self, values: Mapping[str, float | None], epoch: int) -> None:
        """Write numbers; None is left out."""
        known = {name: value for name, value in values.items() if value is not None}
        self._tell(lambda logger: logger.add_scalars(known, epoch))

    def add_histograms(self, values: Histograms, epoch: int) -> None:
        """Write distributions of values."""
        self._tell(lambda logger: logger.add_histograms(values, epoch))

    def close(self, complete: bool = True) -> None:
        """End all, also those that are told no more."""
        self._failures = dict.fromkeys(self._loggers, 0)
        self._tell(lambda logger: logger.close(complete))

    def __enter__(self) -> "Board":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(complete=kind is None)

    def _tell(self, say: Callable[[Logger], None]) -> None:
        with redirect_stdout(sys.stderr), ExitStack() as others:
            for name in reversed(self._loggers):
                if self._failures[name] < FAILURES_IN_A_ROW:
                    others.callback(self._attempt, partial(self._say, say, name))

    def _say(self, say: Callable[[Logger], None], name: str) -> None:
        failures = self._failures[name] + 1
        self._failures[name] = failures
        try:
            say(self._loggers[name])
            self._failures[name] = 0
        finally:
            if self._failures[name] == FAILURES_IN_A_ROW:
                log.warning("%s failed %d times in a row: it is told no more", name, failures)


def check_loggers(names: Sequence[str]) -> None:
    """Make sure that all are known and installed, before anything else is done.

    Raises:
        ConfigError: One is not.
    """
    for name in names:
        if name not in LOGGERS:
            raise ConfigError(
                f"--loggers: no logger '{name}'.{suggest(name, LOGGERS)} Known: "
                f"{', '.join(LOGGERS)}."
            )
        try:
            importlib.import_module(LOGGERS[name])
        except ImportError as error:
            why = " ".join(str(error).split())
            raise ConfigError(
                f"--loggers: {name} cannot be imported: {why}. pip install 'prunus[{name}]'"
            ) from error


def open_loggers(names: Sequence[str], facts: RunFacts, attempt: Attempt = _insist) -> Board:
    """Return TensorBoard and the named ones.

    Args:
        names: In LOGGERS.
        facts: Of the run.
        attempt: As `Board` wants it.

    Raises:
        ConfigError: One is not known or not installed.
        PrunusError: One cannot begin; those that had begun are closed.
    """
    wanted = tuple(dict.fromkeys((ALWAYS, *names)))
    check_loggers(wanted)
    if len(wanted) > 1:
        facts = with_identity(facts)
    opened: dict[str, Logger] = {}
    try:
        with redirect_stdout(sys.stderr):
            for name in wanted:
                opened[name] = importlib.import_module(LOGGERS[name]).open_logger(facts)
    except BaseException:
        Board(opened).close(complete=False)
        raise
    return Board(opened, attempt)
