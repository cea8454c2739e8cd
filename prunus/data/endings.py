"""Whether an image file was cut short, told without decoding it."""

import os
from pathlib import Path

from prunus.data.files import byte_count, open_binary

TAIL_BYTES = 1 << 16
"""Cameras and editors write notes behind a JPEG's end; the mark is looked for this far back."""
END_MARKS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}


def cut_short(file: Path, kind: str) -> bool:
    """Say whether the end of a JPEG, PNG, WebP or BMP is missing; other kinds are trusted.

    Args:
        file: The image.
        kind: Pillow's name of its format.
    """
    size = byte_count(file)
    with open_binary(file) as stream:
        if kind in END_MARKS:
            stream.seek(max(0, size - TAIL_BYTES), os.SEEK_SET)
            return END_MARKS[kind] not in stream.read()
        head = stream.read(8)
    if kind == "WEBP":  # RIFF, then the length of what follows those eight bytes
        return int.from_bytes(head[4:8], "little") + 8 > size
    if kind == "BMP":  # BM, then the length of the file, which some writers leave 0
        return int.from_bytes(head[2:6], "little") > size
    return False
