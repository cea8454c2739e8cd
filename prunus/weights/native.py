"""Prunus's own format: one `.safetensors` file that says all about its detector.

The header's metadata has one entry, "prunus" (safetensors writes several in random order, and equal
detectors shall give equal files). It is JSON: format version, architecture rows, class names,
history, licence, and "sha256", which covers all of these and the name, type, shape and bytes of
every tensor, so that damage is noticed wherever it lies.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

import prunus
from prunus.core.errors import WeightsError
from prunus.core.files import write_atomically
from prunus.model.detector import Detector
from prunus.weights.assemble import assemble
from prunus.weights.history import Step, step_from_mapping
from prunus.weights.module_tree import checked_names

__all__ = ["SUFFIX", "Step", "read_native", "save_weights"]

SUFFIX = ".safetensors"
FORMAT = 1
HEADER, DIGEST = "prunus", "sha256"
MAX_HEADER_BYTES = 16 * 2**20
"""Official models need 0.1 MB; the safetensors library itself stops at 100 MB."""
LENGTH_BYTES = 8
UNSTATED = "unstated"


def save_weights(
    detector: Detector,
    path: Path,
    *,
    history: Sequence[Step] = (),
    licence: str = UNSTATED,
) -> None:
    """Write `detector` to `path`, all or nothing; what is written has been proved to load.

    Args:
        detector: Any widths, any device; not fused. Left as it is.
        path: Ends in `.safetensors`.
        history: What was done to it, oldest first.
        licence: The terms that the weights are under.

    Raises:
        WeightsError: It is fused, holds NaN or infinite values, or does not fit its own rows.
        PrunusError: The folder cannot be written.
    """
    if path.suffix != SUFFIX:
        raise WeightsError(f"{path}: weights are written as {SUFFIX} files. Choose such a name.")
    tensors = {name: _stored(tensor) for name, tensor in detector.state_dict().items()}
    try:
        checked = assemble(detector.spec.to_mapping(), checked_names(detector.names), tensors)
    except WeightsError as error:
        raise WeightsError(f"{path}: not written: the detector {error}") from error
    content = {
        "format": FORMAT,
        "written_by": f"prunus {prunus.__version__}",
        "architecture": checked.spec.to_mapping(),
        "names": list(detector.names),
        "history": [step.to_mapping() for step in history],
        "licence": licence,
    }
    metadata = {HEADER: json.dumps({**content, DIGEST: _digest(content, tensors)})}
    write_atomically(path, lambda temporary: _write(tensors, temporary, metadata))


def read_native(path: Path) -> tuple[Detector, tuple[Step, ...], str]:
    """Return detector (eval mode), history and licence of a `.safetensors` file.

    Raises:
        WeightsError: The file is damaged, of a newer format, or not written by Prunus.
    """
    _check_length(path)
    header, tensors = _read(path)
    content = _parse(header)
    _check_format(content)
    if content.pop(DIGEST, None) != _digest(content, tensors):
        raise _damaged("its content does not have the SHA-256 that was written into it")
    match content:
        case {
            "architecture": dict(architecture),
            "names": list(names),
            "history": list(steps),
            "licence": str(licence),
        }:
            history = tuple(step_from_mapping(step) for step in steps)
        case _:
            raise WeightsError("has a header that lacks architecture, names, history or licence.")
    return assemble(architecture, checked_names(names), tensors), history, licence


def _stored(tensor: Tensor) -> Tensor:
    wanted = torch.float32 if tensor.is_floating_point() else torch.int64
    return tensor.detach().cpu().to(wanted).contiguous()


def _write(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:  # a full disk too: `write_atomically` explains OSErrors
        raise OSError(str(error)) from error


def _digest(content: Mapping[str, object], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_length(path: Path) -> None:
    """The first eight bytes tell how long the header is."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    if not 0 < length <= path.stat().st_size - LENGTH_BYTES:
        raise _damaged("its header is cut off")
    if length > MAX_HEADER_BYTES:
        raise WeightsError(
            f"has a header of {length:,} bytes; at most {MAX_HEADER_BYTES:,} are read. It was not "
            "written by Prunus."
        )


def _read(path: Path) -> tuple[str, dict[str, Tensor]]:
    """Return the header, not yet parsed, and the tensors."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if HEADER not in metadata:
                raise WeightsError(
                    "is a safetensors file without Prunus's header: it holds only tensors, no "
                    "architecture. Give a file written by Prunus, or an official .pt."
                )
            # Copies: a tensor's place in the file depends on the length of the header, and torch
            # rounds in another way where memory is not aligned.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise _damaged("it is cut off or its index is broken") from error
    return metadata[HEADER], tensors


def _parse(header: str) -> dict[str, Any]:
    try:
        content = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise _damaged("its header is no JSON") from error
    if not isinstance(content, dict):
        raise _damaged("its header is no JSON object")
    return content


def _check_format(content: Mapping[str, Any]) -> None:
    version = content.get("format")
    if type(version) is not int or version < 1:
        raise _damaged("its header names no format version")
    if version > FORMAT:
        raise WeightsError(
            f"has format version {version}; Prunus {prunus.__version__} reads up to {FORMAT}. "
            "Upgrade Prunus."
        )


def _damaged(fact: str) -> WeightsError:
    return WeightsError(f"is damaged: {fact}. Copy the file again.")
