"""Files that are never half written, and their fingerprints."""

import errno
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from prunus.core.console import log
from prunus.core.errors import ConfigError, PrunusError

PASSING = frozenset(
    {errno.EINTR, errno.EAGAIN, errno.EBUSY, errno.EIO, errno.ESTALE, errno.ETIMEDOUT}
)
"""Errors that a moment's wait may mend, as on a network drive; a full disk is none of them."""
PAUSES_S = (0.1, 0.5, 2.0)
"""Waits before a write that failed is tried again."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
RUST_FULL = f"(os error {errno.ENOSPC})"
"""How libraries in Rust, such as safetensors, say that the disk is full."""


def write_atomically(
    path: Path,
    write: Callable[[Path], object],
    *,
    previous: Path | None = None,
    size: int | None = None,
    companion: str = "",
) -> None:
    """Let `write` fill a temporary file, flush it to the disk, then rename it onto `path`.

    A reader sees the old file or the whole new one, never a part. What may pass by itself is tried
    again, PAUSES_S apart.

    Args:
        path: Where to.
        write: Fills the file that it is given.
        previous: Where a file that stood at `path` is moved; None to replace it. At every moment
            the old one or the new one is whole, at `path` or here.
        size: Bytes that will be needed, for the message; default: those of the old file.
        companion: Suffix of a second file that `write` leaves beside the first; it is renamed just
            before. Between the two a reader may find the new one beside the old first one.

    Raises:
        PrunusError: The folder cannot be written, or the disk is full. The old file is as it was,
            or at `previous`.
    """
    pauses = iter(PAUSES_S)
    while (error := _write_once(path, write, previous, companion)) is not None:
        pause = next(pauses, None) if error.errno in PASSING else None
        if pause is None:
            raise PrunusError(f"{path}: not written: {_reason(path, error, size)}") from error
        log.warning("%s: %s; trying again in %g s", path, error.strerror or error, pause)
        time.sleep(pause)


def _write_once(
    path: Path, write: Callable[[Path], object], previous: Path | None, companion: str
) -> OSError | None:
    """Write, or return what stood in the way."""
    import tempfile  # late, as yaml and hashlib below: 15 ms that --help need not pay

    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix
        )
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        _sync(temporary)  # afterwards: safetensors puts a file of its own in its place
        if companion:
            _sync(temporary.with_suffix(companion))
            temporary.with_suffix(companion).replace(path.with_suffix(companion))
        if previous is not None and path.exists():
            path.replace(previous)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        return error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
                if companion:
                    temporary.with_suffix(companion).unlink(missing_ok=True)
    return None


def _sync(path: Path) -> None:
    """Bring a temporary file to the disk, readable for all."""
    path.chmod(0o644)
    with path.open("rb") as written:
        os.fsync(written.fileno())


def remove_leftovers(path: Path) -> None:
    """Remove temporary files of writes to `path` that were killed. Nobody may be writing now."""
    for leftover in path.parent.glob(f".{path.name}.*{path.suffix}"):
        with suppress(OSError):
            leftover.unlink()


def _reason(path: Path, error: OSError, size: int | None) -> str:
    """Say why a write failed, and what to do; of a full disk also how much is missing."""
    import shutil

    text = error.strerror or str(error)
    if error.errno in FULL or RUST_FULL in text:
        with suppress(OSError):
            needed = path.stat().st_size if size is None else size
            text += f", {needed:,} bytes are needed"
        with suppress(OSError):
            text += f", {shutil.disk_usage(path.parent).free:,} are free"
    return f"{text}. Free space, or choose another place with --out."


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, content: object) -> None:
    """Write indented JSON, atomically. Paths become strings; NaN is refused."""
    write_text(path, json.dumps(content, indent=2, default=str, allow_nan=False) + "\n")


def read_yaml(path: Path) -> object:
    """Return the content of a YAML file.

    Raises:
        ConfigError: The file is missing, no text, or no YAML.
    """
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}.") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # such as 2020-99-99
        problem = " ".join(str(error).split())
        raise ConfigError(f"{path}: not valid YAML: {problem}.") from error


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    import hashlib

    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def megabytes(path: Path) -> float:
    """Return the size of a file in MB (10^6 bytes)."""
    return path.stat().st_size / 1e6


def _sync_folder(folder: Path) -> None:
    """Bring the folder's entries to the disk, where the system can."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network drives know no such
            raise
    finally:
        os.close(handle)
