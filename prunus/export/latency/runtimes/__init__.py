"""The open table of runtimes whose layers can be priced.

A new runtime is one file here with `version`, `lane` and `time_layers`, and its line in RUNTIMES;
a new precision of one is how layers are timed in it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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
class Precision:
    """What a runtime computes in.

    Attributes:
        time_layers: Times a layer with its activation, in this precision.
        share_in_layers: Of what a whole network takes beyond the sum of its layers, the share that
            shrinks as they do (caches, page faults, joins); the rest of it stays. The one that fits
            best six cut yolov5n at 320 and at 640, one thread, AVX-512 with bfloat16, to within
            2 to 5 %: python benchmarks/latency_table.py --precisions fp32 bf16.
    """

    time_layers: TimeLayers
    share_in_layers: float


@dataclass(frozen=True)
class Runtime:
    """One runtime.

    Attributes:
        title: For people.
        version: Returns the installed version.
        lane: (shape, channels in, channels out, vector width) -> where that pair is priced.
        precisions: What it computes in, by name: fp32, bf16.
    """

    title: str
    version: Callable[[], str]
    lane: Callable[[LayerShape, int, int, int], Lane]
    precisions: Mapping[str, Precision]

    def in_precision(self, name: str) -> Precision:
        """Return one of its precisions.

        Raises:
            ExportError: It does not compute in that.
        """
        if name not in self.precisions:
            raise ExportError(
                f"latency table: {self.title} computes in {', '.join(self.precisions)}, not in "
                f"{name}. Ask for one of these, or for another runtime."
            )
        return self.precisions[name]


RUNTIMES: dict[str, Runtime] = {
    "torch": Runtime(
        "torch",
        torch.version,
        torch.lane,
        {
            "fp32": Precision(partial(torch.time_layers, precision="fp32"), 0.7),
            "bf16": Precision(partial(torch.time_layers, precision="bf16"), 0.5),
        },
    ),
    "onnx": Runtime(
        "ONNX Runtime", onnx.version, onnx.lane, {"fp32": Precision(onnx.time_layers, 0.5)}
    ),
    "openvino": Runtime(
        "OpenVINO",
        openvino.version,
        openvino.lane,
        {
            "fp32": Precision(partial(openvino.time_layers, precision="fp32"), 0.4),
            "bf16": Precision(partial(openvino.time_layers, precision="bf16"), 0.25),
        },
    ),
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
