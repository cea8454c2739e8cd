"""Refuse a file that could do harm, before any runtime sees it; a file a format.

Each reads the file once and hands on its bytes, since a second reading could find another file.
"""

import stat
from pathlib import Path

from prunus.core.errors import ExportError
from prunus.export.engines import plain

MAX_BYTES = 1 << 30
"""YOLOv5x6, the largest of the family, takes 563 MB; protobuf itself ends at 2 GiB."""


def read_bounded(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        ExportError: It cannot be read, or is larger than any detector.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device may never end
            raise ExportError(f"{path}: not a regular file.")
        if status.st_size > MAX_BYTES:
            raise ExportError(
                f"{path}: {status.st_size / 1e6:,.0f} MB; models above {MAX_BYTES / 1e6:,.0f} MB "
                "are refused."
            )
        return path.read_bytes()
    except OSError as error:
        raise ExportError(f"{path}: cannot be read: {error.strerror or error}.") from error


def refusal(path: Path, problem: str) -> ExportError:
    """Return the error for a file that holds what our exporters never write.

    Args:
        path: Of the file.
        problem: What it holds; may quote the file, whose words reach no terminal as they are.
    """
    return ExportError(
        f"{path}: refused: {plain(problem)}. Open only files that `prunus export` has written."
    )
