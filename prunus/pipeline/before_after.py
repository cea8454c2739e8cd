"""Two detectors side by side, before and after a step: size, cost, speed, accuracy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from prunus.export.benchmark import measure_latency
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.runner import TorchRunner
from prunus.pipeline.models import model_facts, stored_megabytes
from prunus.report.steps import StepRow, steps_table


@dataclass(frozen=True)
class Side:
    """One side of the comparison.

    Attributes:
        model: As `models.model_facts` returns it.
        file_mb: Of its weights file, 10^6 bytes.
        latency_ms: Of an image in torch, float32; None where it was not measured.
        metrics: On the validation split; empty without data.
    """

    model: dict[str, Any]
    file_mb: float
    latency_ms: float | None
    metrics: dict[str, Any]

    def facts(self) -> dict[str, object]:
        """Return what a report says of it."""
        return {
            **self.model,
            "file_mb": self.file_mb,
            "latency_ms": self.latency_ms,
            "metrics": self.metrics or None,
        }


def compare_sides(
    detectors: Mapping[str, Detector],
    metrics: Mapping[str, dict[str, Any]],
    device: torch.device,
    timed_at: int | None,
) -> dict[str, Side]:
    """Put together what is known of the detectors; they are timed in one interleaved run.

    Args:
        detectors: By what they are called.
        metrics: Of each, on the validation split.
        device: Where they are timed.
        timed_at: Side of the images, in pixels; None to time nothing.
    """
    latency = {} if timed_at is None else _latency(detectors, device, timed_at)
    return {
        name: Side(
            model_facts(detector), stored_megabytes(detector), latency.get(name), metrics[name]
        )
        for name, detector in detectors.items()
    }


def sides_table(title: str, sides: Mapping[str, Side]) -> str:
    """Return the comparison as text."""
    rows = [
        StepRow(
            step=name,
            map50=side.metrics.get("map50"),
            map50_95=side.metrics.get("map50_95"),
            params=side.model["params"],
            gflops=side.model["gflops"],
            file_mb=side.file_mb,
            latency_ms={} if side.latency_ms is None else {"torch fp32": side.latency_ms},
        )
        for name, side in sides.items()
    ]
    return steps_table(title, rows)


def _latency(
    detectors: Mapping[str, Detector], device: torch.device, side: int
) -> dict[str, float]:
    runners = {name: TorchRunner(fuse(d), device, "fp32") for name, d in detectors.items()}
    measured = measure_latency(runners, (side, side))
    return {name: latency.median_ms for name, latency in measured.items()}
