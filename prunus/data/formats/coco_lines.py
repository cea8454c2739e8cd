"""On which line of a COCO JSON an object begins: looked up only where something was found.

The text is walked once, element by element, and no element is kept, so this needs less memory than
reading the file did. Most JSONs are one long line; those are not walked at all.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Find = Callable[[str, int], int | None]
"""(list, such as "annotations"; place in it, from 1) -> line, from 1, or None: not known."""

LISTS = ("images", "annotations", "categories")
BLANKS = re.compile(r"[ \t\n\r]*")
CHUNK_BYTES = 1 << 20
FILES_KEPT = 2


def no_lines(_listed: str, _number: int) -> None:
    """Know no line."""


def lines_of(file: Path) -> Find:
    """Return where the elements of a file begin; a file that is gone or changes has no lines."""
    try:
        state = file.stat()
        return _lines_of(file, state.st_size, state.st_mtime_ns, state.st_ino)
    except (OSError, ValueError, IndexError, RecursionError):
        return no_lines


@lru_cache(maxsize=FILES_KEPT)
def _lines_of(file: Path, _size: int, _changed: int, _inode: int) -> Find:
    if _is_one_line(file):
        return lambda *_: 1
    content = file.read_bytes()
    text = content.decode(json.detect_encoding(content), "surrogatepass")
    del content
    lines = {name: _line_numbers(text, starts) for name, starts in _lists(text)}

    def find(listed: str, number: int) -> int | None:
        known = lines.get(listed, ())
        return int(known[number - 1]) if 0 < number <= len(known) else None

    return find


def _is_one_line(file: Path) -> bool:
    """Say whether nothing but blanks follows the first line break."""
    broken = False
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            if b"\n" in chunk.rstrip() or (broken and chunk.strip()):
                return False
            broken |= b"\n" in chunk
    return True


def _lists(text: str) -> Iterator[tuple[str, list[int]]]:
    """Yield COCO's lists and where their elements begin; of a key that comes again, the last one.

    Raises:
        ValueError, IndexError: It is no JSON object.
    """
    read = json.JSONDecoder().raw_decode
    place = _skip(text, 0, "{")
    while text[place] != "}":
        key, place = read(text, place)
        place = _skip(text, _skip(text, place), ":")
        if key in LISTS and text[place] == "[":
            starts, place = _elements(text, place, read)
            yield key, starts
        else:
            _, place = read(text, place)
        place = _skip(text, place)
        place = _skip(text, place, ",") if text[place] == "," else place


def _elements(
    text: str, place: int, read: Callable[[str, int], tuple[object, int]]
) -> tuple[list[int], int]:
    """Return where the elements of the list at `place` begin, and where it ends."""
    starts = []
    place = _skip(text, place, "[")
    while text[place] != "]":
        starts.append(place)
        place = _skip(text, read(text, place)[1])
        place = _skip(text, place, ",") if text[place] == "," else place
    return starts, place + 1


def _skip(text: str, place: int, sign: str = "") -> int:
    """Return the place of the next sign behind blanks, and behind `sign` and more blanks."""
    blanks = BLANKS.match(text, place)
    place = blanks.end() if blanks else place
    if not sign:
        return place
    if text[place] != sign:
        raise ValueError(f"no {sign} at {place}")
    return _skip(text, place + 1)


def _line_numbers(text: str, starts: list[int]) -> NDArray[np.int32]:
    lines = np.ones(len(starts), dtype=np.int32)
    line, before = 1, 0
    for number, start in enumerate(starts):
        line += text.count("\n", before, start)
        lines[number], before = line, start
    return lines
