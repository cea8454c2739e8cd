"""Malformed and hostile zip archives are refused before their pickle is read."""

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prunus.core.errors import WeightsError
from prunus.model.detector import Detector
from prunus.weights.files import load_weights

EMPTY_DICT = b"\x80\x02}."


def zipped(*entries: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of duplicate names
        with zipfile.ZipFile(buffer, "w", compression) as file:
            for name, content in entries:
                file.writestr(name, content)
    return buffer.getvalue()


GOOD = (("archive/data.pkl", EMPTY_DICT), ("archive/data/0", bytes(16)), ("archive/version", b"3"))


def encrypted() -> bytes:
    """Set the encryption flag of the first entry, in both of its headers."""
    content = bytearray(zipped(*GOOD))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def overlapping() -> bytes:
    """Let twenty entries of the index point at one run of bytes."""
    names = [(f"archive/data/{i}", bytes(1000) if i == 0 else b"") for i in range(20)]
    content = bytearray(zipped(*GOOD[:1], *names))
    place = content.index(b"PK\x01\x02")
    while (place := content.find(b"PK\x01\x02", place + 1)) > 0:
        content[place + 20 : place + 28] = struct.pack("<II", 1000, 1000)
    return bytes(content)


def wrong_bytes() -> bytes:
    """Change a byte of the pickle, so that its checksum is wrong."""
    content = bytearray(zipped(*GOOD))
    content[content.index(EMPTY_DICT) + 2] ^= 1
    return bytes(content)


def bomb() -> bytes:
    return zipped(*GOOD, ("archive/data/1", bytes(10**7)), compression=zipfile.ZIP_DEFLATED)


def other_size() -> bytes:
    """Say in the index that the pickle is shorter than it is stored."""
    content = bytearray(zipped(*GOOD))
    place = content.index(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 2)
    return bytes(content)


MALFORMED: dict[str, tuple[Callable[[], bytes], str]] = {
    "no entries": (zipped, r"not a PyTorch \.pt|empty zip archive"),
    "encrypted": (encrypted, r"the encrypted entry 'archive/data\.pkl'"),
    "bomb": (bomb, r"the compressed entry 'archive/data\.pkl'"),
    "sizes that disagree": (other_size, r"the compressed entry|cannot be read"),
    "overlapping entries": (overlapping, "has entries that overlap"),
    "wrong checksum": (wrong_bytes, r"is damaged: entry data\.pkl cannot be read"),
    "two pickles": (
        lambda: zipped(*GOOD, ("archive/data.pkl", EMPTY_DICT)),
        r"holds the entry 'archive/data\.pkl' twice",
    ),
    "a storage twice": (
        lambda: zipped(*GOOD, ("archive/data/0", bytes(16))),
        "holds the entry 'archive/data/0' twice",
    ),
    "two folders": (
        lambda: zipped(*GOOD, ("other/data.pkl", EMPTY_DICT)),
        r"holds the entry 'other/data\.pkl'",
    ),
    "no folder": (lambda: zipped(("data.pkl", EMPTY_DICT)), r"holds the entry 'data\.pkl'"),
    "no pickle": (lambda: zipped(*GOOD[1:]), r"lacks the entry data\.pkl"),
    "an archive inside": (
        lambda: zipped(*GOOD, ("archive/inner.zip", zipped(*GOOD))),
        r"holds the entry 'archive/inner\.zip'.*unpack it first",
    ),
    "a checkpoint inside": (
        lambda: zipped(("yolov5n.pt", zipped(*GOOD))),
        r"holds the entry 'yolov5n\.pt'.*unpack it first",
    ),
    "a path out of the archive": (
        lambda: zipped(*GOOD, ("archive/../../etc/passwd", b"x")),
        r"holds the entry 'archive/\.\./\.\./etc/passwd'",
    ),
    "an absolute path": (lambda: zipped(*GOOD, ("/etc/passwd", b"x")), "holds the entry '/etc/pas"),
    "a path in a storage's name": (
        lambda: zipped(*GOOD, ("archive/data/../0", b"x")),
        r"holds the entry 'archive/data/\.\./0'",
    ),
    "a folder entry": (lambda: zipped(*GOOD, ("archive/data/", b"")), "holds the entry 'archive/"),
    "terminal escapes in a name": (
        lambda: zipped(*GOOD, ("archive/\x1b[2J", b"")),
        r"holds the entry 'archive/\?\[2J'",
    ),
    "code": (lambda: zipped(*GOOD, ("archive/code/a.py", b"")), "TorchScript archive"),
    "constants": (lambda: zipped(*GOOD, ("archive/constants.pkl", b"")), "TorchScript archive"),
    "big-endian": (lambda: zipped(*GOOD, ("archive/byteorder", b"big")), "big-endian machine"),
    "bytes before the archive": (
        lambda: b"PK\x03\x04" + bytes(100) + zipped(*GOOD),
        "begins with bytes that belong to no entry",
    ),
    "a pickle of 17 MB": (
        lambda: zipped(("archive/data.pkl", bytes(17 * 2**20))),
        r"data\.pkl of more than 16,777,216 bytes",
    ),
    "20,001 entries": (
        lambda: zipped(*GOOD, *[(f"archive/data/{i}", b"") for i in range(1, 20_000)]),
        "more than 20,000 entries",
    ),
    "cut off in the index": (lambda: zipped(*GOOD)[:-30], "cut off or its index is broken"),
    "cut off in the entries": (lambda: zipped(*GOOD)[:60], "cut off or its index is broken"),
    "only the first bytes": (lambda: b"PK\x03\x04", "cut off or its index is broken"),
}


@pytest.mark.parametrize(("make", "message"), MALFORMED.values(), ids=list(MALFORMED))
def test_a_malformed_archive_is_refused(
    tmp_path: Path, make: Callable[[], bytes], message: str
) -> None:
    path = tmp_path / "odd.pt"
    path.write_bytes(make())
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()


def test_the_archive_that_the_others_vary_is_fine_itself(tmp_path: Path) -> None:
    path = tmp_path / "good.pt"
    path.write_bytes(zipped(*GOOD))
    with pytest.raises(WeightsError, match="holds no model"):
        load_weights(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_download_that_broke_off_is_named_as_such(
    tmp_path: Path, small_detector: Detector, official: Any, share: float
) -> None:
    path = tmp_path / "half.pt"
    torch.save({"model": official(small_detector)}, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(WeightsError, match=r"is damaged: it is cut off.*Download or copy"):
        load_weights(path)
