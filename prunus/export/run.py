"""`prunus export`: a detector becomes a file that has been seen to compute the same."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from prunus.core.console import log
from prunus.core.errors import ExportError
from prunus.core.files import megabytes, sha256, write_atomically
from prunus.core.records import Size
from prunus.data.letterbox import GREY
from prunus.export.backends import BACKENDS, DEFAULT_OPSET, find_writer
from prunus.export.config import ExportConfig
from prunus.export.facts import NO_ORIGIN, Origin, check_multiple
from prunus.export.parity import Parity, check_parity
from prunus.export.samples import images_of_data, painted_images
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.runner import TorchRunner
from prunus.weights.files import load_weights


@dataclass(frozen=True)
class ExportResult:
    """One written file.

    Attributes:
        path: Where it is.
        format: Name in `backends.BACKENDS`.
        megabytes: Its size, 10^6 bytes.
        sha256: Of its bytes.
        parity: How far it is from torch, on the images it was checked on.
        seconds: For writing and checking.
    """

    path: Path
    format: str
    megabytes: float
    sha256: str
    parity: Parity
    seconds: float


def export(  # noqa: PLR0913 - each is a flag of its own that every exporter has
    detector: Detector,
    path: Path,
    format_name: str,
    size_hw: Size,
    images: Tensor,
    *,
    batch: int = 1,
    dynamic: bool = False,
    opset: int = DEFAULT_OPSET,
    origin: Origin = NO_ORIGIN,
) -> ExportResult:
    """Write a detector for a runtime, open the file, and compare it with torch; else leave no file.

    Args:
        detector: Fused or not; left as it is.
        path: Replaced when all went well.
        format_name: Name in `backends.BACKENDS`.
        size_hw: Input size in pixels.
        images: (B, 3, H, W) uint8 of that size, to compare on.
        batch: Images that one call of the file takes.
        dynamic: Any batch and size instead.
        opset: ONNX operator set, for the formats that have one.
        origin: The weights file that the detector came from.

    Raises:
        ExportError: Unknown format, impossible size, or the file does not compute what torch does.
    """
    suffix, write = find_writer(format_name)
    if path.suffix != suffix:
        raise ExportError(f"{path}: a file for {format_name} must end in {suffix}.")
    check_multiple(size_hw, detector.stride, str(path))
    started = time.perf_counter()
    reference = TorchRunner(fuse(detector), torch.device("cpu"), "fp32")
    found: list[Parity] = []

    def write_and_check(temporary: Path) -> None:
        try:
            write(
                detector,
                temporary,
                size_hw=size_hw,
                batch=batch,
                dynamic=dynamic,
                opset=opset,
                origin=origin,
            )
            exported = BACKENDS[format_name].open(temporary, device="cpu")
            found.append(check_parity(reference, exported, images))
            if dynamic:  # the traced size may have been baked in
                check_parity(reference, exported, _enlarged(images[:1], detector.stride))
        except ExportError as error:
            reason = str(error).removeprefix(f"{temporary}: ")
            raise ExportError(f"{path}: {reason}") from error

    write_atomically(path, write_and_check)
    seconds = time.perf_counter() - started
    return ExportResult(path, format_name, megabytes(path), sha256(path), found[0], seconds)


def _enlarged(images: Tensor, stride: int) -> Tensor:
    """Add a grey border to the right (one stride) and below (two)."""
    return torch.nn.functional.pad(images, (0, stride, 0, 2 * stride), value=GREY)


def run_export(settings: ExportConfig, folder: Path) -> tuple[ExportResult, ...]:
    """Export a weights file to every format asked for, into `folder`.

    Raises:
        ExportError: A format failed; the message names the files that were written before it.
        WeightsError: The weights cannot be read.
        DataError: The data set cannot.
    """
    writers = {name: find_writer(name) for name in settings.formats}
    checkpoint = load_weights(settings.weights)
    check_multiple(settings.size_hw, checkpoint.detector.stride, "--img")
    images = (
        painted_images(settings.size_hw, settings.check_images)
        if settings.data is None
        else images_of_data(settings.data, settings.size_hw, settings.check_images)
    )
    results: list[ExportResult] = []
    for name, (suffix, _) in writers.items():
        try:
            result = export(
                checkpoint.detector,
                folder / f"{settings.weights.stem}{suffix}",
                name,
                settings.size_hw,
                images,
                batch=settings.batch_size,
                dynamic=settings.dynamic,
                opset=settings.opset,
                origin=Origin(checkpoint.sha256, checkpoint.licence),
            )
        except ExportError as error:
            written = ", ".join(str(done.path) for done in results) or "nothing"
            raise ExportError(f"{error} Written before: {written}.") from error
        log.info("%s", describe(result))
        results.append(result)
    return tuple(results)


def describe(result: ExportResult) -> str:
    """Return one line for people."""
    parity = result.parity
    return (
        f"{result.path}: {result.megabytes:.2f} MB in {result.seconds:.1f} s; "
        f"on {parity.images} images within {parity.max_relative:.1g} of torch, "
        f"{parity.boxes} boxes within {parity.max_box_px:.1g} px"
    )
