"""What a person sees: lines, tables and progress bars; plain lines when the output is piped.

Everything goes to standard error, so that standard output stays free for `--json`.
"""

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

log = logging.getLogger("prunus")
"""The one logger. `show_log` points it at the console, `core.runs` at the run folder's log."""

Item = TypeVar("Item")
BAR_DELAY_S = 2.0
"""Loops that end sooner show no bar."""
PLAIN_LINE_EVERY_S = 30.0


class _Console(logging.Handler):
    """Prints each record's text to standard error, whatever that is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)  # noqa: T201 - the one place that speaks


_console = _Console()


def show_log(*, quiet: bool) -> None:
    """Send the log to standard error; warnings and errors only under `quiet`.

    Called once, by the command line. A program that uses the package as a library decides for
    itself what becomes of the logger "prunus", and sees no bars.
    """
    _console.setLevel(logging.WARNING if quiet else logging.INFO)
    log.setLevel(logging.INFO)
    log.propagate = False
    if _console not in log.handlers:
        log.addHandler(_console)


def _is_quiet() -> bool:
    return _console not in log.handlers or _console.level > logging.INFO


def track(items: Iterable[Item], title: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items, showing a progress bar once two seconds have passed.

    On a terminal a moving bar; elsewhere a plain line every half minute. Silent under `quiet`.
    """
    if total is None and isinstance(items, Sequence):
        total = len(items)
    if _is_quiet() or _Bar.shown:
        yield from items
        return
    bar = _Bar(title, total)
    _Bar.shown = True
    try:
        for item in items:
            yield item
            bar.advance()
    finally:
        _Bar.shown = False
        bar.close()


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a plain aligned table: text columns to the left, all others to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    raw = [header, *cells]
    widths = [max(len(row[column]) for row in raw) for column in range(len(header))]
    numeric = [
        bool(cells) and all(_is_number(row[column]) for row in cells)
        for column in range(len(header))
    ]

    def line(row: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        return "  ".join(padded).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([title, line(header), rule, *(line(row) for row in cells)])


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def _is_number(cell: str) -> bool:
    return (
        cell in ("-", "")
        or cell.lstrip("+-").replace(",", "").rstrip("x%").replace(".", "", 1).isdigit()
    )


class _Bar:
    """One progress bar, made only when the loop turns out to be long.

    Attributes:
        shown: Whether there is one: a loop within it shows none, two would overwrite each other.
    """

    shown = False

    def __init__(self, title: str, total: int | None) -> None:
        self._title, self._total, self._done = title, total, 0
        self._start = self._last_line = monotonic()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._plain: bool | None = None

    def advance(self) -> None:
        self._done += 1
        now = monotonic()
        if now - self._start < BAR_DELAY_S:
            return
        if self._plain is None:
            self._open()
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=self._done)
        elif now - self._last_line >= PLAIN_LINE_EVERY_S:
            self._last_line = now
            of_total = f" of {self._total}" if self._total else ""
            log.info("%s: %d%s, %.0f s", self._title, self._done, of_total, now - self._start)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _open(self) -> None:
        # Late: 40 ms that --help need not pay.
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        self._plain = not console.is_terminal
        if self._plain:
            return
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = progress.add_task(self._title, total=self._total, completed=self._done)
        progress.start()
        self._progress = progress
