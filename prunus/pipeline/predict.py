"""`predict`: a model + pictures, videos or a stream → drawings, tables, a report.

Ctrl-C and SIGTERM end it early: what was found until then is kept, with its report.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from prunus.core.console import log
from prunus.core.runs import start
from prunus.export.backends import open_runner
from prunus.predict.config import PredictConfig
from prunus.predict.run import Summary, run_predict

EXIT_BY_SIGNAL = 128
"""What shells add to a signal's number."""


def predict(settings: PredictConfig) -> dict[str, object]:
    """Find objects, write what was asked for, and return the report.

    Raises:
        KeyboardInterrupt: By Ctrl-C; what was found until then is written.
        SystemExit: By SIGTERM; likewise.
    """
    with start("predict", settings) as run, _ended_by_sigterm():
        run.add_input("weights", settings.weights)
        runner = open_runner(
            settings.weights,
            device=settings.device,
            precision=settings.precision,
            threads=settings.threads,
        )
        summary = run_predict(runner, settings, run.folder)
        if summary.images:
            log.info(
                "%d objects in %d images, %.1f images/s: %s",
                summary.detections,
                summary.images,
                summary.images_per_second,
                run.folder,
            )
        run.report = report_of(summary)
        if summary.stopped is None:
            return run.finish()
        if summary.images:
            run.finish()
        raise summary.stopped


def report_of(summary: Summary) -> dict[str, object]:
    """Return what the report says about a run."""
    report: dict[str, object] = {
        "images": summary.images,
        "detections": summary.detections,
        "images_per_second": summary.images_per_second,
        "speed_ms": summary.stages.per_image(summary.images),
        "unreadable": len(summary.unreadable),
        "stopped": summary.stopped is not None,
    }
    if summary.live is not None:
        report["stream"] = {
            "received": summary.live.received,
            "dropped": summary.live.dropped,
            "reconnects": summary.live.reconnects,
            "lost": summary.live.lost,
        }
    return report


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM raise SystemExit, so that files are ended; only the main thread may ask so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit(number: int, _: FrameType | None) -> None:
    raise SystemExit(EXIT_BY_SIGNAL + number)
