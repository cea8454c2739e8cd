"""The door: what is accepted, and what each other kind of file is told."""

import os
import tarfile
from pathlib import Path

import pytest

from prunus.core.errors import WeightsError
from prunus.model.detector import Detector
from prunus.weights.files import READERS, TORCH_SUFFIXES, load_weights
from prunus.weights.native import save_weights


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pt", b"", "is empty"),
        ("a.safetensors", b"", "is empty"),
        ("a.pt", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", r"before version 1\.6"),
        ("a.pt", b"<!DOCTYPE html><html>", r"is a web page, not a PyTorch \.pt"),
        ("a.pt", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("a.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("a.pt", b"\x89HDF\r\n", "is an HDF5 file"),
        ("a.pt", b"hello", r"is something else, not a PyTorch \.pt"),
        ("a.safetensors", b"PK\x03\x04", r"is a zip archive, as PyTorch writes it: rename it"),
        ("a.safetensors", b"\x80\x02}.", r"is a pickle, not a \.safetensors"),
        ("a.onnx", b"x", r"prunus val.*Weights are \.safetensors or \.pt files"),
        ("a.yaml", b"x", r"an architecture.*Weights are \.safetensors or \.pt files"),
        ("a.bin", b"x", r"'\.bin' is no extension of weights"),
        ("a", b"x", r"'' is no extension of weights"),
    ],
)
def test_other_files_are_told_what_they_are(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_an_old_tar_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    with tarfile.open(path, "w") as file:
        file.add(write(tmp_path / "storages", b"x"), "storages")
    with pytest.raises(WeightsError, match=r"bare pickle or tar"):
        load_weights(path)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.pt: no such file\."):
        load_weights(tmp_path / "gone.pt")
    folder = tmp_path / "folder.pt"
    folder.mkdir()
    with pytest.raises(WeightsError, match=r"folder\.pt: is a folder\. Give a"):
        load_weights(folder)
    pipe = tmp_path / "pipe.pt"
    os.mkfifo(pipe)
    with pytest.raises(WeightsError, match=r"pipe\.pt: is no regular file"):
        load_weights(pipe)


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path / "locked.pt", b"PK\x03\x04")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WeightsError, match=r"locked\.pt: cannot be read: Permission denied"):
        load_weights(path)


def test_the_extension_may_be_in_capitals(tmp_path: Path, small_detector: Detector) -> None:
    save_weights(small_detector, tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").rename(tmp_path / "A.SAFETENSORS")
    checkpoint = load_weights(tmp_path / "A.SAFETENSORS")
    assert checkpoint.detector.names == small_detector.names


def test_the_suffixes_are_those_of_the_readers() -> None:
    assert set(TORCH_SUFFIXES) == set(READERS)
