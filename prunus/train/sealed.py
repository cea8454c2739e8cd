"""A file of tensors that knows whether it is whole: `torch.save`, then a line with its SHA-256.

Written to a temporary file, read back, and only then renamed; what it replaces is kept beside it.
"""

import errno
import io
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from prunus.core.console import log
from prunus.core.files import write_atomically

MARK = b"\nPrunus state, SHA-256 of all before this line: "
DIGEST_BYTES = 64
SEAL_BYTES = len(MARK) + DIGEST_BYTES + 1
BLOCK = 1 << 20


class DamagedError(Exception):
    """A sealed file is not as it was written; the text says what is wrong."""


def write_sealed(path: Path, content: Mapping[str, object], previous: Path) -> None:
    """Write `content`; a whole file that stands at `path` becomes `previous`, a damaged one goes.

    Raises:
        PrunusError: It cannot be written. The file at `path` is then as it was, or at `previous`.
    """
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    data = buffer.getbuffer()
    seal = MARK + sha256(data).hexdigest().encode() + b"\n"

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.write(data)
            file.write(seal)
        if damage(temporary):
            raise OSError(errno.EIO, "what was written reads back differently")

    keep = _is_whole(path, previous)
    write_atomically(path, write, previous=previous if keep else None, size=len(data) + len(seal))


def read_sealed(path: Path) -> dict[str, Any]:
    """Return what `write_sealed` wrote; tensors on the CPU.

    Raises:
        FileNotFoundError: There is none.
        DamagedError: Not a byte is as it should be, or one of them is not.
    """
    if why := damage(path):
        raise DamagedError(why)
    data = path.read_bytes()[:-SEAL_BYTES]
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise DamagedError("sealed, but holds something else than plain tensors") from error
    if not isinstance(content, dict):
        raise DamagedError("sealed, but holds something else than a state")
    return content


def damage(path: Path) -> str:
    """Return what is wrong with a sealed file, "" when nothing is.

    Raises:
        FileNotFoundError: There is none.
    """
    try:
        return _damage(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"


def _is_whole(path: Path, previous: Path) -> bool:
    """Return whether a file is worth keeping as `previous`; say so when it is damaged."""
    try:
        why = damage(path)
    except FileNotFoundError:
        return False
    if why:
        log.warning("%s: %s; it is replaced, and %s stays", path, why, previous.name)
    return not why


def _damage(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        left = file.seek(0, os.SEEK_END) - SEAL_BYTES
        if left < 0:
            return "cut off"
        file.seek(left)
        seal = file.read()
        if not seal.startswith(MARK) or not seal.endswith(b"\n"):
            return "cut off or damaged: no SHA-256 at its end"
        file.seek(0)
        while left:
            block = file.read(min(BLOCK, left))
            if not block:
                return "cut off while it was read"
            digest.update(block)
            left -= len(block)
    if seal[len(MARK) : -1] != digest.hexdigest().encode():
        return "damaged: its bytes do not have the SHA-256 at its end"
    return ""
