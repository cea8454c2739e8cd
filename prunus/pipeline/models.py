"""A weights file or runtime file, opened with what a report has to say of it."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prunus.core.console import log
from prunus.core.device import keep_freed_pages, resolve_precision, select_device
from prunus.core.errors import ConfigError
from prunus.core.files import megabytes
from prunus.core.records import Runner
from prunus.export.backends import find_backend, open_runner
from prunus.model.cost import count_flops, count_parameters
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.runner import TorchRunner
from prunus.prune.masks.choose import sparsify
from prunus.prune.masks.report import Sparsity
from prunus.weights.files import TORCH_SUFFIXES, load_weights
from prunus.weights.native import SUFFIX, save_weights


@dataclass(frozen=True)
class OpenedModel:
    """A model that is ready to predict.

    Attributes:
        runner: What predicts.
        facts: `params`, `gflops` (None where the file does not say) and `file_mb`, with what
            belongs to the file.
        sparsity: What was set to zero on opening, if anything.
    """

    runner: Runner
    facts: dict[str, Any]
    sparsity: Sparsity | None = None


def model_facts(detector: Detector) -> dict[str, Any]:
    """Return `params`, and `gflops` at 640 pixels."""
    return {
        "params": count_parameters(detector),
        "gflops": round(count_flops(detector) / 1e9, 3),
    }


def stored_megabytes(detector: Detector) -> float:
    """Return the size of the detector's file in our own format, whatever it was read from."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"detector{SUFFIX}"
        save_weights(detector, path)
        return megabytes(path)


def open_model(
    path: Path, *, device: str = "", precision: str = "auto", sparsify_share: float | None = None
) -> OpenedModel:
    """Open any file that predicts.

    Args:
        path: `.safetensors`, official `.pt`, or a file that a backend wrote.
        device: As on the command line.
        precision: fp32, bf16, fp16 or auto.
        sparsify_share: Share of each fused convolution's weights to set to zero first.

    Raises:
        ConfigError: An exported file cannot be sparsified.
        WeightsError: See `weights.files.load_weights`.
        ExportError: See `export.backends.open_runner`.
    """
    keep_freed_pages()
    if path.suffix not in TORCH_SUFFIXES:
        if sparsify_share is not None:
            raise ConfigError(
                f"--sparsify: {path.name} is an exported file. Give its weights file."
            )
        runner = open_runner(path, device=device, precision=precision)
        size = round(find_backend(path).megabytes(path), 3)
        return OpenedModel(runner, {"params": None, "gflops": None, "file_mb": size})
    detector = load_weights(path).detector
    facts = {**model_facts(detector), "file_mb": round(find_backend(path).megabytes(path), 3)}
    fused = fuse(detector)
    sparsity = None
    if sparsify_share is not None:
        sparsity = sparsify(fused, sparsify_share)
        log.info("%s", sparsity.summary())
    place = select_device(device)
    return OpenedModel(
        TorchRunner(fused, place, resolve_precision(precision, place)), facts, sparsity
    )


def rounded_size(image_size: int, stride: int) -> int:
    """Return the side rounded up to a multiple of the stride, and say so."""
    side = -(-image_size // stride) * stride
    if side != image_size:
        log.info("--img %d: rounded up to %d, a multiple of %d", image_size, side, stride)
    return side


def fitting_size(image_size: int, runner: Runner) -> int:
    """Return the side that a runner takes: its own where it has one, or else a fitting one."""
    if runner.size_hw is None:
        return rounded_size(image_size, runner.stride)
    side = max(runner.size_hw)
    if side != image_size:
        log.info("--img %d: the file takes images of %d pixels only", image_size, side)
    return side
