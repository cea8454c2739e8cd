"""torch itself, eager: opens weights files, native and official, fused."""

from pathlib import Path

import torch

from prunus.core.device import resolve_precision, select_device
from prunus.core.records import Runner
from prunus.model.fuse import fuse
from prunus.model.runner import TorchRunner
from prunus.weights.files import load_weights


def open(
    path: Path,
    *,
    device: str = "",
    precision: str = "auto",
    threads: int | None = None,
    contained: bool = False,  # noqa: ARG001  weights are data, which no runtime runs
) -> Runner:
    """Open a weights file. `threads` holds for the whole process: torch knows no other way.

    Raises:
        WeightsError: The file is unsafe, damaged or of the wrong kind.
        ConfigError: No such device, or it lacks the precision.
    """
    chosen = select_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    detector = load_weights(path).detector
    return TorchRunner(fuse(detector), chosen, resolve_precision(precision, chosen))
