"""Whether an image file was cut short, told without decoding it."""

import os
from pathlib import Path
from typing import BinaryIO

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
            start = 0 if kind == "PNG" else _picture_start(stream)
            stream.seek(max(start, size - TAIL_BYTES), os.SEEK_SET)
            return END_MARKS[kind] not in stream.read()
        head = stream.read(8)
    if kind == "WEBP":  # RIFF, then the length of what follows those eight bytes
        return int.from_bytes(head[4:8], "little") + 8 > size
    if kind == "BMP":  # BM, then the length of the file, which some writers leave 0
        return int.from_bytes(head[2:6], "little") > size
    return False


def _picture_start(stream: BinaryIO) -> int:
    """Return where a JPEG's pixels begin: a thumbnail in its header has an end mark of its own."""
    place = 2
    while True:
        stream.seek(place, os.SEEK_SET)
        head = stream.read(4)
        if len(head) < 4 or head[0] != 0xFF or head[1] == 0xDA:
            return place
        # bytes of 255 may fill the gap between segments (ITU T.81, B.1.1.2)
        place += 1 if head[1] == 0xFF else 2 + int.from_bytes(head[2:], "big")
