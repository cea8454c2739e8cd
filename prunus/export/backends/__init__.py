"""The open table of runtimes: each writes a detector to a file and opens such a file as a `Runner`.

A new runtime is one file here with `write` and `open` (an `opening.Opener`: how such a file is read
and what it can compute in), and its line in BACKENDS.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prunus.core.errors import ExportError, suggest
from prunus.core.files import megabytes
from prunus.core.records import Runner
from prunus.export.backends import onnx, openvino, torch, torchscript
from prunus.export.facts import NO_ORIGIN, Origin
from prunus.export.form import Form
from prunus.export.vetting.openvino import WEIGHTS_SUFFIX
from prunus.model.detector import Detector


class Write(Protocol):
    """Writes one file, and its companion where it has one, whole or not at all."""

    def __call__(
        self, detector: Detector, path: Path, form: Form, origin: Origin = NO_ORIGIN
    ) -> None:
        """Write `detector`, fused, to `path`.

        Args:
            detector: Left as it is.
            path: Replaced when it exists.
            form: What the file takes, and how it is stored.
            origin: The weights file that the detector came from.

        Raises:
            ExportError: It cannot be expressed in this format.
        """
        ...


class Open(Protocol):
    """Opens a file of this runtime."""

    def __call__(
        self,
        path: Path,
        *,
        device: str = "",
        precision: str = "auto",
        threads: int | None = None,
        contained: bool = False,
    ) -> Runner:
        """Return the file as a runner.

        Args:
            path: An existing file.
            device: As for `core.device.select_device`.
            precision: One of `core.device.PRECISIONS`, or "auto".
            threads: CPU threads; None for as many as torch uses.
            contained: Run it in a process of its own, which it may bring down.

        Raises:
            ExportError: The file is damaged, not trusted, or does not suit the device or precision.
        """
        ...


@dataclass(frozen=True)
class Backend:
    """One runtime.

    Attributes:
        suffix: Of the files that it writes, with the dot.
        open: Opens such a file.
        write: Writes one; None where the weights file itself is what the runtime opens.
        other_suffixes: What it opens besides.
        companion: Suffix of a second file that it writes and needs beside the first, or "".
    """

    suffix: str
    open: Open
    write: Write | None = None
    other_suffixes: tuple[str, ...] = ()
    companion: str = ""

    def files(self, path: Path) -> tuple[Path, ...]:
        """Return the file and its companion, if it has one."""
        return (path, path.with_suffix(self.companion)) if self.companion else (path,)

    def megabytes(self, path: Path) -> float:
        """Return the size of the file and its companion, 10^6 bytes."""
        return sum(map(megabytes, self.files(path)))


BACKENDS: dict[str, Backend] = {
    "torch": Backend(".safetensors", torch.open, other_suffixes=(".pt",)),
    "onnx": Backend(".onnx", onnx.open, onnx.write),
    "openvino": Backend(".xml", openvino.open, openvino.write, companion=WEIGHTS_SUFFIX),
    "torchscript": Backend(".torchscript", torchscript.open, torchscript.write),
}


def find_backend(path: Path) -> Backend:
    """Return the backend that opens files with this suffix.

    Raises:
        ExportError: None does.
    """
    suffix = path.suffix.lower()
    known = {}
    for backend in BACKENDS.values():
        known.update(dict.fromkeys((backend.suffix, *backend.other_suffixes), backend))
    if suffix not in known:
        raise ExportError(
            f"{path}: no runtime opens '{suffix}' files. Give one of {', '.join(known)}."
        )
    return known[suffix]


def find_writer(format_name: str) -> tuple[str, Write]:
    """Return the suffix and the `write` of a format.

    Raises:
        ExportError: No such format, or one that needs no export.
    """
    backend = BACKENDS.get(format_name)
    if backend is None or backend.write is None:
        written = [name for name, entry in BACKENDS.items() if entry.write is not None]
        reason = "opens the weights file itself" if backend else "is no format"
        raise ExportError(
            f"'{format_name}' {reason}: export to one of {', '.join(written)}."
            f"{'' if backend else suggest(format_name, written)}"
        )
    return backend.suffix, backend.write


def open_runner(
    path: Path, *, device: str = "", precision: str = "auto", threads: int | None = None
) -> Runner:
    """Open a weights file or an exported model, by its suffix; the latter in a process of its own.

    Raises:
        ExportError: No runtime opens such files, or this one is damaged or not trusted.
        WeightsError: The weights file is.
    """
    backend = find_backend(path)
    if not path.is_file():
        raise ExportError(f"{path}: no such file.")
    return backend.open(path, device=device, precision=precision, threads=threads, contained=True)
