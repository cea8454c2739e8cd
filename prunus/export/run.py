"""`prunus export`: a detector becomes a file that has been seen to compute the same."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from prunus.core.console import log
from prunus.core.errors import ExportError, ParityError
from prunus.core.files import sha256, write_atomically
from prunus.core.records import GREY
from prunus.export.backends import BACKENDS, find_writer
from prunus.export.blame import first_layer_off
from prunus.export.config import ExportConfig
from prunus.export.facts import NO_ORIGIN, Origin, check_multiple
from prunus.export.form import Form
from prunus.export.onnx_suppression import check_suppression
from prunus.export.parity import Parity, check_parity, filled
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


def export(
    detector: Detector,
    path: Path,
    format_name: str,
    form: Form,
    images: Tensor,
    origin: Origin = NO_ORIGIN,
) -> ExportResult:
    """Write a detector for a runtime, open the file, and compare it with torch; else leave no file.

    Args:
        detector: Fused or not; left as it is.
        path: Replaced when all went well.
        format_name: Name in `backends.BACKENDS`.
        form: What the file takes, and how it is stored.
        images: (B, 3, H, W) uint8 of that size, to compare on.
        origin: The weights file that the detector came from.

    Raises:
        ExportError: Unknown format, or impossible form.
        ParityError: The file does not compute what torch does; the message names a layer.
    """
    suffix, write = find_writer(format_name)
    if path.suffix != suffix:
        raise ExportError(f"{path}: a file for {format_name} must end in {suffix}.")
    check_multiple(form.size_hw, detector.stride, str(path))
    started = time.perf_counter()
    stored = _rounded(detector) if form.half else detector
    found: list[Parity] = []

    def write_and_check(temporary: Path) -> None:
        try:
            write(detector, temporary, form, origin)
            found.append(_check(stored, temporary, format_name, form, images))
        except ExportError as error:
            reason = (
                str(error)
                .replace(str(temporary), temporary.name)
                .removeprefix(f"{temporary.name}: ")
            )
            raise type(error)(f"{path}: {reason}") from error

    write_atomically(path, write_and_check, companion=BACKENDS[format_name].companion)
    seconds = time.perf_counter() - started
    size = BACKENDS[format_name].megabytes(path)
    return ExportResult(path, format_name, size, sha256(path), found[0], seconds)


def _check(detector: Detector, path: Path, format_name: str, form: Form, images: Tensor) -> Parity:
    """Compare a file with its detector; of a dynamic one also at a size that it was not traced at.

    Raises:
        ParityError: They differ.
    """
    reference = TorchRunner(fuse(detector), torch.device("cpu"), "fp32")
    exported = BACKENDS[format_name].open(path, device="cpu", precision="fp32")
    try:
        parity = check_parity(reference, exported, images)
        if form.dynamic:  # the traced size may have been baked in
            check_parity(reference, exported, _enlarged(images[:1], detector.stride))
        if form.suppression is not None:
            check_suppression(path, form, images)
    except ParityError as error:
        culprit = first_layer_off(detector, path, filled(images[:1], exported.batch))
        raise ParityError(f"{error}{culprit}Nothing was written.") from error
    return parity


def _rounded(detector: Detector) -> Detector:
    """Return the fused detector with weights as half precision holds them."""
    return fuse(detector).half().float()


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
                settings.form,
                images,
                Origin(checkpoint.sha256, checkpoint.licence),
            )
        except ExportError as error:
            written = ", ".join(str(done.path) for done in results) or "nothing"
            raise type(error)(f"{error} Written before: {written}.") from error
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
