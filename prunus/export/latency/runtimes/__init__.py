"""The open table of runtimes whose layers can be priced.

A new runtime is one file here with `version`, `time_layers` and `lane`, and its line in RUNTIMES.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from prunus.core.errors import ExportError, suggest
from prunus.export.latency.lanes import Lane
from prunus.export.latency.runtimes import onnx, openvino, torch
from prunus.model.layers import LayerShape

Widths = tuple[int, int]
"""Channels in, channels out."""


class TimeLayers(Protocol):
    """Times one layer at several widths."""

    def __call__(
        self, shape: LayerShape, points: Sequence[Widths], *, threads: int, rounds: int
    ) -> list[list[float]]:
        """Return per point the milliseconds of each of `rounds` calls; the points take turns."""
        ...


@dataclass(frozen=True)
class Runtime:
    """One runtime.

    Attributes:
        title: For people.
        version: Returns the installed version.
        time_layers: Times a layer with its activation.
        lane: (shape, channels in, channels out, vector width) -> where that pair is priced.
        share_in_layers: Of what a whole network takes beyond the sum of its layers, the share that
            shrinks as they do (caches, page faults, joins); the rest of it stays. Measured on cut
            yolov5n (benchmarks/results/latency_table.jsonl).
    """

    title: str
    version: Callable[[], str]
    time_layers: TimeLayers
    lane: Callable[[LayerShape, int, int, int], Lane]
    share_in_layers: float


RUNTIMES: dict[str, Runtime] = {
    "torch": Runtime("torch", torch.version, torch.time_layers, torch.lane, 0.65),
    "onnx": Runtime("ONNX Runtime", onnx.version, onnx.time_layers, onnx.lane, 0.5),
    "openvino": Runtime("OpenVINO", openvino.version, openvino.time_layers, openvino.lane, 0.2),
}


def find_runtime(name: str) -> Runtime:
    """Return a runtime by its name.

    Raises:
        ExportError: No such runtime.
    """
    if name not in RUNTIMES:
        known = ", ".join(RUNTIMES)
        raise ExportError(
            f"latency table: no runtime '{name}'.{suggest(name, RUNTIMES)} Known: {known}."
        )
    return RUNTIMES[name]
