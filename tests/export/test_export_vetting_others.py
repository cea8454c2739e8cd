"""OpenVINO pairs and TorchScript archives: what is damaged, foreign or hostile is refused."""

import io
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from prunus.core.errors import ExportError
from prunus.export.backends import BACKENDS, opening
from prunus.export.form import Form, Suppression
from prunus.export.vetting import torchscript
from prunus.model.detector import Detector

SIZE = (64, 64)


@pytest.fixture
def no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_args: object, **_keywords: object) -> None:
        raise AssertionError("the runtime was given a file that had to be refused")

    monkeypatch.setattr(opening, "start_engine", started)
    monkeypatch.setattr(opening, "ChildEngine", started)


@pytest.fixture(scope="module")
def pair(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    """The graph and the weights of an OpenVINO file."""
    pytest.importorskip("openvino")
    path = tmp_path_factory.mktemp("pair") / "model.xml"
    BACKENDS["openvino"].write(detector, path, Form(SIZE))  # type: ignore[misc]
    return path.read_text("utf-8"), path.with_suffix(".bin").read_bytes()


@pytest.fixture(scope="module")
def archive(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("archive") / "model.torchscript"
    BACKENDS["torchscript"].write(detector, path, Form(SIZE))  # type: ignore[misc]
    return path.read_bytes()


def swap(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


def tell_lies(text: str) -> str:
    """Let a constant start at the weights' last byte."""
    return re.sub(r'offset="\d+" size="(\d{3,})"', r'offset="999999999" size="\1"', text, count=1)


@pytest.mark.usefixtures("no_runtime")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swap("<net", '<!DOCTYPE net [<!ENTITY a "b">]><net'), "refused: its XML declares"),
        (swap('version="opset1"', 'version="evil"'), "is of the foreign set 'evil'"),
        (swap('type="Sigmoid"', 'type="Loop"'), "uses the layer 'Loop', which no detector"),
        (tell_lies, "the constant '.+' reaches outside the weights"),
        (swap("<layers>", "<layers"), "not an OpenVINO graph, or cut short"),
        (lambda _text: "<svg/>", "not an OpenVINO graph: it holds no layers"),
        (lambda text: text[: len(text) // 2], "not an OpenVINO graph, or cut short"),
        (swap("<prunus>", "<others>"), "not an OpenVINO graph, or cut short|not written by"),
    ],
)
def test_hostile_graphs_are_refused(
    change: Callable[[str], str], message: str, pair: tuple[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "bad.xml"
    path.write_text(change(pair[0]), "utf-8")
    path.with_suffix(".bin").write_bytes(pair[1])
    with pytest.raises(ExportError, match=rf"bad\.xml: .*({message})"):
        BACKENDS["openvino"].open(path)


def test_weights_of_another_graph_are_refused(pair: tuple[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    path.write_text(pair[0], "utf-8")
    with pytest.raises(ExportError, match=r"model\.bin: cannot be read: No such file"):
        BACKENDS["openvino"].open(path)
    changed = bytearray(pair[1])
    changed[len(changed) // 2] ^= 1
    path.with_suffix(".bin").write_bytes(changed)
    with pytest.raises(ExportError, match=r"model\.bin: these are not the weights that model\.xml"):
        BACKENDS["openvino"].open(path)


def rewritten(archive: bytes, change: Callable[[str, bytes], tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as new,
    ):
        for name in old.namelist():
            new.writestr(*change(name, old.read(name)))
    return buffer.getvalue()


def calls(code: str) -> Callable[[str, bytes], tuple[str, bytes]]:
    def change(name: str, content: bytes) -> tuple[str, bytes]:
        if name.endswith(".py"):
            content = content.replace(b"    input = ", f"    x = {code}\n    input = ".encode(), 1)
        return name, content

    return change


@pytest.mark.usefixtures("no_runtime")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (calls('torch.from_file("/etc/passwd")'), r"its code calls 'torch\.from_file'"),
        (calls('torch.save(images, "/tmp/x")'), r"its code calls 'torch\.save'"),
        (calls("ops.prim.rangelist(3)"), r"its code calls 'ops\.prim\.rangelist'"),
        (calls("torch . from_file(images)"), r"its code calls 'torch'"),
        (calls("torch\\\n    .save(images)"), r"its code calls 'torch'"),
        (calls("(torch # c\n    .save)(images)"), r"its code calls 'torch'"),
        (calls("torch\n    t.save(images)"), r"its code calls 'torch'"),
        (lambda name, content: (f"{name}.so", content), r"it holds '.+\.so'"),
        (lambda name, content: (name.replace("/", "/../", 1), content), r"it holds '.+'"),
        (
            lambda name, content: (name.replace("prunus.json", "more.json"), content),
            "it holds '.+more.json'",
        ),
        (
            lambda name, content: (name, b"[1" if name.endswith(".json") else content),
            "its facts are not JSON",
        ),
    ],
)
def test_hostile_archives_are_refused(
    change: Callable[[str, bytes], tuple[str, bytes]],
    message: str,
    archive: bytes,
    tmp_path: Path,
) -> None:
    path = tmp_path / "bad.torchscript"
    path.write_bytes(rewritten(archive, change))
    with pytest.raises(ExportError, match=rf"bad\.torchscript: .*{message}"):
        BACKENDS["torchscript"].open(path)


def test_the_runtime_gets_the_members_that_were_vetted(archive: bytes, tmp_path: Path) -> None:
    """Two archives in one file: Python may read the one, torch the other."""
    path = tmp_path / "two.torchscript"
    hidden = rewritten(archive, calls('torch.save(images, "/tmp/x")'))
    path.write_bytes(hidden + archive)
    content, _ = torchscript.read_vetted(path)
    assert b"torch.save" not in content
    doubled = io.BytesIO(archive)
    with zipfile.ZipFile(doubled, "a") as again, pytest.warns(UserWarning, match="Duplicate name"):
        again.writestr(again.namelist()[0], b"")
    path.write_bytes(doubled.getvalue())
    with pytest.raises(ExportError, match="two of its members have one name"):
        torchscript.read_vetted(path)


@pytest.mark.parametrize("offset", ["²", "9" * 5000, "-1", ""])
def test_offsets_that_are_no_numbers_are_refused(
    offset: str, pair: tuple[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "bad.xml"
    path.write_text(re.sub(r'offset="\d+"', f'offset="{offset}"', pair[0], count=1), "utf-8")
    path.with_suffix(".bin").write_bytes(pair[1])
    with pytest.raises(ExportError, match="reaches outside the weights"):
        BACKENDS["openvino"].open(path)


def test_weights_that_never_end_are_refused(pair: tuple[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "bad.xml"
    path.write_text(pair[0], "utf-8")
    os.mkfifo(path.with_suffix(".bin"))
    with pytest.raises(ExportError, match=r"bad\.bin: not a regular file"):
        BACKENDS["openvino"].open(path)


@pytest.mark.usefixtures("no_runtime")
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_damaged_archives_are_told(share: float, archive: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.torchscript"
    path.write_bytes(archive[: int(len(archive) * share)])
    with pytest.raises(ExportError, match=r"cut\.torchscript: not a TorchScript file, or cut sh"):
        BACKENDS["torchscript"].open(path)


def test_an_archive_without_facts_is_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "plain.torchscript"
    torch.jit.save(torch.jit.trace(torch.nn.SiLU(), torch.zeros(1)), str(path))  # type: ignore[no-untyped-call]
    with pytest.raises(ExportError, match=r"plain\.torchscript: "):
        BACKENDS["torchscript"].open(path)


def test_a_rewritten_archive_still_opens(archive: bytes, tmp_path: Path) -> None:
    """So that the tests above are refused for what they changed."""
    path = tmp_path / "same.torchscript"
    path.write_bytes(rewritten(archive, lambda name, content: (name, content)))
    runner = BACKENDS["torchscript"].open(path, threads=1)
    assert runner(torch.zeros(1, 3, *SIZE, dtype=torch.uint8)).shape[0] == 1


@pytest.mark.parametrize("name", ["openvino", "torchscript"])
def test_what_a_format_cannot_do_is_told(name: str, detector: Detector, tmp_path: Path) -> None:
    backend = BACKENDS[name]
    path = tmp_path / f"model{backend.suffix}"
    with pytest.raises(ExportError, match="only ONNX files can hold the suppression"):
        backend.write(detector, path, Form(SIZE, suppression=Suppression()))  # type: ignore[misc]
    with pytest.raises(ExportError, match="must be multiples of 32"):
        backend.write(detector, path, Form((64, 65)))  # type: ignore[misc]
    backend.write(detector, path, Form(SIZE))  # type: ignore[misc]
    with pytest.raises(ExportError, match=f"model{backend.suffix}: computes in"):
        backend.open(path, precision="fp16")
    with pytest.raises(ExportError, match="runs on the CPU, not on '0'"):
        backend.open(path, device="0")
