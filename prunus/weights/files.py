"""The door: any weights file that is accepted → `Checkpoint`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prunus.core.errors import WeightsError
from prunus.core.files import sha256
from prunus.model.detector import Detector
from prunus.weights.history import Step
from prunus.weights.native import SUFFIX, read_native
from prunus.weights.official import OFFICIAL_LICENCE, read_official


@dataclass(frozen=True)
class Checkpoint:
    """What a weights file holds.

    Attributes:
        detector: In eval mode, on the CPU, float32.
        history: What was done to it, oldest first.
        licence: The terms that its file states.
        sha256: Of the file's bytes.
        source: The file.
    """

    detector: Detector
    history: tuple[Step, ...]
    licence: str
    sha256: str
    source: Path


Contents = tuple[Detector, tuple[Step, ...], str]


def _open_official(path: Path) -> Contents:
    return read_official(path), (), OFFICIAL_LICENCE


READERS: dict[str, Callable[[Path], Contents]] = {SUFFIX: read_native, ".pt": _open_official}
"""What is accepted, by extension. Each reader gives detector, history and licence."""
TORCH_SUFFIXES = tuple(READERS)

ELSEWHERE = {
    ".onnx": "an exported model: `prunus val`, `predict` and `benchmark` take it",
    ".xml": "an exported model: `prunus val`, `predict` and `benchmark` take it",
    ".torchscript": "an exported model",
    ".engine": "an exported model",
    ".yaml": "an architecture: `prunus train --cfg` takes it",
    ".yml": "an architecture: `prunus train --cfg` takes it",
}
ZIP, PICKLE, TAR = b"PK", b"\x80", b"ustar"
TAR_MARK_AT = 257
HEADER_AT = 8
"""Where the JSON of a safetensors file begins."""
CONTENTS = {
    ZIP: "a zip archive",
    PICKLE: "a pickle",
    b"<": "a web page",
    b"version https://git-lfs": "a git-lfs pointer: fetch the file itself with `git lfs pull`",
    b"\x89HDF": "an HDF5 file",
}


def load_weights(path: Path) -> Checkpoint:
    """Open a weights file, whatever made it; nothing of it is run.

    Raises:
        WeightsError: It is missing, unsafe, damaged or of the wrong kind. One line: the file, what
            is wrong, what to do.
    """
    path = Path(path)
    reader = _reader(path)
    try:
        _check_content(path)
        detector, history, licence = reader(path)
        return Checkpoint(detector, history, licence, sha256(path), path)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}.") from error


def _reader(path: Path) -> Callable[[Path], Contents]:
    accepted = " or ".join(READERS)
    if path.is_dir():
        raise WeightsError(f"{path}: is a folder. Give a {accepted} file.")
    if not path.exists():
        raise WeightsError(f"{path}: no such file.")
    if not path.is_file():
        raise WeightsError(f"{path}: is no regular file. Give a {accepted} file.")
    suffix = path.suffix.lower()
    if suffix not in READERS:
        what = ELSEWHERE.get(suffix, f"'{path.suffix}' is no extension of weights")
        raise WeightsError(f"{path}: {what}. Weights are {accepted} files.")
    return READERS[suffix]


def _check_content(path: Path) -> None:
    """Look at the first bytes: do they belong to the extension?"""
    with path.open("rb") as file:
        start = file.read(TAR_MARK_AT + len(TAR))
    if not start:
        raise WeightsError("is empty. Download or copy the file again.")
    if path.suffix.lower() == ".pt":
        if start.startswith(PICKLE) or start[TAR_MARK_AT:] == TAR:
            raise WeightsError(
                "is of the form that PyTorch wrote before version 1.6 (a bare pickle or tar). If "
                "you trust it, load it with YOLOv5's code and save it again."
            )
        if not start.startswith(ZIP):
            raise WeightsError(f"is {_described(start)}, not a PyTorch .pt. Download it again.")
    elif start[HEADER_AT : HEADER_AT + 1] == b"{":
        return  # the eight bytes before it are a length and may look like anything
    elif start.startswith(ZIP):
        raise WeightsError("is a zip archive, as PyTorch writes it: rename it to .pt.")
    elif any(start.startswith(mark) for mark in CONTENTS):
        raise WeightsError(f"is {_described(start)}, not a {SUFFIX} file. Download it again.")


def _described(start: bytes) -> str:
    return next(
        (text for mark, text in CONTENTS.items() if start.startswith(mark)), "something else"
    )
