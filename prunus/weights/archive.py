"""The zip archive of an official `.pt`: its entries checked, its tensors read straight from it.

`torch.save` stores `NAME/data.pkl`, `NAME/data/<number>` for each storage, `NAME/version` and a few
marks, all uncompressed. Anything else is refused: no entry can then unpack to more bytes than the
file has.
"""

import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from prunus.core.errors import WeightsError
from prunus.weights.inert import StorageRef, TensorRef, shown

PICKLE, BYTE_ORDER = "data.pkl", "byteorder"
ENTRY = re.compile(r"data\.pkl|version|byteorder|data/[0-9]+|\.[A-Za-z_/]+")
"""What `torch.save` writes, below the archive's one folder; marks begin with a dot."""
SCRIPT_ENTRY = re.compile(r"code/.*|constants\.pkl")
MAX_ENTRIES = 20_000
MAX_PICKLE_BYTES = 16 * 2**20
ENCRYPTED = 0x1
DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    struct.error,
)
"""What `zipfile` raises on damaged archives."""


class Archive:
    """An open archive whose entries have passed the checks."""

    def __init__(self, file: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo]) -> None:
        self._file = file
        self._entries = entries

    def pickle(self) -> bytes:
        return self._read(PICKLE)

    def check(self, storages: Mapping[str, StorageRef]) -> None:
        """Compare what the pickle says of its storages with what is there.

        Raises:
            WeightsError: A storage is missing or has another size.
        """
        for key, storage in storages.items():
            entry = self._entries.get(f"data/{key}")
            if entry is None:
                raise _damaged(f"storage {shown(key)} is missing")
            wanted = storage.count * storage.dtype.itemsize
            if entry.file_size != wanted:
                raise _damaged(
                    f"storage {shown(key)} has {entry.file_size:,} bytes instead of {wanted:,}"
                )

    def tensor(self, reference: TensorRef) -> Tensor:
        """Read one tensor: floating ones as float32, whole numbers as int64, contiguous."""
        storage = reference.storage
        wanted = torch.float32 if storage.dtype.is_floating_point else torch.int64
        if 0 in reference.size:
            return torch.empty(reference.size, dtype=wanted)
        raw = bytearray(self._read(f"data/{storage.key}"))
        numbers = torch.frombuffer(raw, dtype=storage.dtype)
        view = numbers.as_strided(reference.size, reference.stride, reference.offset)
        return view.to(wanted, copy=True, memory_format=torch.contiguous_format)

    def _read(self, name: str) -> bytes:
        try:
            return self._file.read(self._entries[name])
        except DAMAGE as error:
            raise _damaged(f"entry {name} cannot be read") from error


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a `.pt` file.

    Raises:
        WeightsError: It is no zip archive, is damaged, or holds what `torch.save` does not write.
    """
    try:
        file = zipfile.ZipFile(path)
    except DAMAGE as error:
        raise _damaged("it is cut off or its index is broken") from error
    with file:
        archive = Archive(file, _checked_entries(file, path.stat().st_size))
        if archive._entries.get(BYTE_ORDER) and archive._read(BYTE_ORDER) != b"little":
            raise WeightsError(
                "was saved on a big-endian machine. Save it again on a little-endian one."
            )
        yield archive


def _checked_entries(file: zipfile.ZipFile, file_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """Return the entries by their name below the archive's folder."""
    infos = file.infolist()
    if not infos:
        raise WeightsError("is an empty zip archive. Download or copy the file again.")
    if len(infos) > MAX_ENTRIES:
        raise _refused(f"has more than {MAX_ENTRIES:,} entries")
    folder = infos[0].filename.partition("/")[0]
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = _checked_name(info, folder)
        if name in entries:
            raise _refused(f"holds the entry '{shown(info.filename)}' twice")
        entries[name] = info
    if PICKLE not in entries:
        raise _refused(f"lacks the entry {PICKLE}")
    if entries[PICKLE].file_size > MAX_PICKLE_BYTES:
        raise _refused(f"has a {PICKLE} of more than {MAX_PICKLE_BYTES:,} bytes")
    if sum(info.file_size for info in infos) > file_bytes:
        raise _refused("has entries that overlap")
    if min(info.header_offset for info in infos) != 0:
        raise _refused("begins with bytes that belong to no entry")
    return entries


def _checked_name(info: zipfile.ZipInfo, folder: str) -> str:
    """Return the name below the folder of an entry that is what `torch.save` writes."""
    top, _, name = info.filename.partition("/")
    if SCRIPT_ENTRY.fullmatch(name):
        raise WeightsError(
            "is a TorchScript archive: a program, not a checkpoint. Give the .pt file that it was "
            "exported from."
        )
    if top != folder or not ENTRY.fullmatch(name):
        raise _refused(f"holds the entry '{shown(info.filename)}'")
    if info.flag_bits & ENCRYPTED:
        raise _refused(f"has the encrypted entry '{shown(info.filename)}'")
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise _refused(f"has the compressed entry '{shown(info.filename)}'")
    return name


def _refused(fact: str) -> WeightsError:
    return WeightsError(
        f"is a zip archive that {fact}, which torch.save does not write. If the checkpoint lies "
        "inside it, unpack it first."
    )


def _damaged(fact: str) -> WeightsError:
    return WeightsError(f"is damaged: {fact}. Download or copy the file again.")
