"""A tar as a folder: where each member's bytes lie, so that any of them is one seek away.

That is what makes shards (WebDataset's layout: `0001.jpg` beside `0001.txt` in uncompressed tars)
fit for samples that are pure functions of (seed, epoch, k); a stream that is shuffled in a buffer,
as the webdataset package does it, is not. So Python's own tarfile is enough. Nothing is ever
unpacked: links, devices and names that leave the shard are left alone.
"""

import tarfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from prunus.data.problems import RuleError

SUFFIX = ".tar"
MOST_MEMBERS = 1_000_000
"""A shard of WebDataset's has a gigabyte and ten thousand images."""
SHARDS_KEPT = 4096
"""Tables in memory, 0.2 kB a member."""


class Member(NamedTuple):
    """Where a member's bytes lie in its tar."""

    offset: int
    size: int


@dataclass(frozen=True)
class Shard:
    """The table of a tar.

    Attributes:
        members: Regular files by name, without a leading `./`.
        faults: What is wrong with the tar, one clause each.
    """

    members: dict[str, Member]
    faults: tuple[str, ...]


def read_shard(file: Path) -> Shard:
    """Return a tar's table; the same one until the file changes.

    Raises:
        RuleError: It is no uncompressed tar, or cannot be read.
    """
    try:
        state = file.stat()
        if not file.is_file():
            raise RuleError("shard-unreadable", "no regular file")
        return _read(file, state.st_size, state.st_mtime_ns, state.st_ino)
    except OSError as error:
        raise RuleError("shard-unreadable", f"cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=SHARDS_KEPT)
def _read(file: Path, size: int, _changed: int, _inode: int) -> Shard:
    members: dict[str, Member] = {}
    faults: list[str] = []
    try:
        with tarfile.open(file, mode="r:") as archive:
            for item in archive:
                fault = _fault(item, size, members)
                if fault:
                    faults.append(f"'{item.name}' {fault}: left out")
                elif item.isreg():
                    members[_tidy(item.name)] = Member(item.offset_data, item.size)
                if len(members) >= MOST_MEMBERS:
                    faults.append(f"over {MOST_MEMBERS} members: the rest is left out")
                    break
                archive.members = []  # type: ignore[attr-defined]  # else every header stays
            end = archive.offset
    except (tarfile.TarError, EOFError, ValueError, RecursionError) as error:
        if not members:
            raise RuleError("shard-unreadable", f"no uncompressed tar: {error}") from error
        return Shard(members, (*faults, f"damaged after {len(members)} members: {error}"))
    if len(members) < MOST_MEMBERS and not _ends_properly(file, end):
        faults.append(f"damaged after {len(members)} members: the rest is lost")
    return Shard(members, tuple(faults))


def _tidy(name: str) -> str:
    return str(PurePosixPath(name))


def _fault(item: tarfile.TarInfo, size: int, members: dict[str, Member]) -> str:
    """Say why a member is not read, or ""."""
    if item.isdir():
        return ""
    if not item.isreg() or item.issparse():
        return "is no regular file"
    path = PurePosixPath(item.name)
    if path.is_absolute() or ".." in path.parts:
        return "is a name that leaves the shard"
    if item.offset_data + item.size > size:
        return "ends early"
    return "comes twice" if _tidy(item.name) in members else ""


def _ends_properly(file: Path, end: int) -> bool:
    """Say whether the block behind the last member is empty, as the mark of the end is."""
    with file.open("rb") as stream:
        stream.seek(end)
        block = stream.read(tarfile.BLOCKSIZE)
    return len(block) == tarfile.BLOCKSIZE and not any(block)
