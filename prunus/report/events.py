"""The gammas of a sparsity training, out of its TensorBoard files of events."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from prunus.report.blocks import MissingError
from prunus.report.values import number

PATTERN = "events.out.tfevents.*"
ALL = "gamma/all"
SHARES = {"gamma/below_0.001": "below 0.001", "gamma/below_0.01": "below 0.01"}
"""Scalars that are shown, and how they are called."""


@dataclass(frozen=True)
class Histogram:
    """Counts between edges.

    Attributes:
        edges: (n + 1) values, rising.
        counts: (n).
    """

    edges: tuple[float, ...]
    counts: tuple[float, ...]


@dataclass
class GammaHistory:
    """What was written of the gammas, by epoch.

    Attributes:
        histograms: Of all gammas' sizes.
        shares: By name, the share of gammas so small.
    """

    histograms: dict[int, Histogram] = field(default_factory=dict)
    shares: dict[str, dict[int, float]] = field(default_factory=dict)


def read_gammas(folder: Path) -> GammaHistory:
    """Read all files of events of a run; what a later file has of an epoch counts.

    Raises:
        MissingError: There are none, or nothing of gammas is in them.
    """
    files = sorted(path for path in folder.glob(PATTERN) if path.is_file())
    if not files:
        raise MissingError(f"{folder.name} has no TensorBoard events.")
    history = GammaHistory()
    for path in files:
        for event in _events(path):
            _take(event, history)
    if not history.histograms:
        raise MissingError(f"the TensorBoard events of {folder.name} hold no histogram of gammas.")
    return history


def _events(path: Path) -> Iterator[Any]:
    """Yield events up to the end, or to where the file is damaged."""
    # Late: they take half a second to import.
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    try:
        for content in RawEventFileLoader(str(path)).Load():
            yield Event.FromString(content)
    except (DecodeError, OSError, ValueError):
        return


def _take(event: Any, history: GammaHistory) -> None:
    if event.session_log.status == event.session_log.START:  # a run that was resumed
        _forget(history, event.step)
    for value in event.summary.value:
        if value.tag == ALL and value.HasField("histo"):
            found = _histogram(value.histo)
            if found is not None:
                history.histograms[event.step] = found
        share = number(value.simple_value) if value.tag in SHARES else None
        if share is not None:
            history.shares.setdefault(SHARES[value.tag], {})[event.step] = share


def _forget(history: GammaHistory, first: int) -> None:
    history.histograms = {e: known for e, known in history.histograms.items() if e < first}
    for name, known in history.shares.items():
        history.shares[name] = {e: share for e, share in known.items() if e < first}


def _histogram(found: Any) -> Histogram | None:
    """Return TensorBoard's histogram, its open ends at the smallest and the largest value."""
    limits, counts = list(found.bucket_limit), list(found.bucket)
    if not counts or len(limits) != len(counts):
        return None
    edges = [found.min, *(min(limit, found.max) for limit in limits)]
    values = [number(value) for value in (*edges, *counts)]
    if any(value is None or value < 0 for value in values):
        return None
    rising = all(low <= high for low, high in pairwise(edges))
    return Histogram(tuple(edges), tuple(counts)) if rising else None
