"""Refuse a file that could do harm, before any runtime sees it; a file a format.

Each reads the file once and hands on its bytes, since a second reading could find another file.
"""

from pathlib import Path

from prunus.core.errors import ExportError

MAX_BYTES = 1 << 30
"""YOLOv5x6, the largest of the family, takes 563 MB; protobuf itself ends at 2 GiB."""


def read_bounded(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        ExportError: It cannot be read, or is larger than any detector.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ExportError(
                f"{path}: {size / 1e6:,.0f} MB; models above {MAX_BYTES / 1e6:,.0f} MB are refused."
            )
        return path.read_bytes()
    except OSError as error:
        raise ExportError(f"{path}: cannot be read: {error.strerror or error}.") from error


def refusal(path: Path, problem: str) -> ExportError:
    """Return the error for a file that holds what our exporters never write."""
    return ExportError(
        f"{path}: refused: {problem}. Open only files that `prunus export` has written."
    )
