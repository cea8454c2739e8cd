"""Files that are damaged, foreign or hostile are refused in a line, before a runtime sees them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from prunus.core.errors import ExportError
from prunus.export import vetting
from prunus.export.backends import onnx as backend
from prunus.export.backends import opening

Change = Callable[[onnx.ModelProto], object]


@pytest.fixture
def model(onnx_content: bytes) -> onnx.ModelProto:
    return onnx.load_model_from_string(onnx_content)


@pytest.fixture
def no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_args: object, **_keywords: object) -> None:
        raise AssertionError("the runtime was given a file that had to be refused")

    monkeypatch.setattr(opening, "start_engine", started)
    monkeypatch.setattr(opening, "ChildEngine", started)


def weights_elsewhere(location: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return change


def hidden_external_entry(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].external_data.add(key="location", value="weights.bin")


def constant_elsewhere(model: onnx.ModelProto) -> None:
    tensor = helper.make_tensor("c", TensorProto.FLOAT, [1], [0.0])
    node = helper.make_node("Constant", [], ["c"], name="c", value=tensor)
    node.attribute[0].t.data_location = TensorProto.EXTERNAL
    model.graph.node.append(node)


def own_domain(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.evil", 1))
    model.graph.node.append(helper.make_node("PyOp", ["images"], ["x"], domain="com.evil"))


def bomb(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Tile", ["images", "repeats"], ["x"]))


def undeclared_domain(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("FusedConv", [], ["x"], domain="com.microsoft"))


def own_function(model: onnx.ModelProto) -> None:
    body = [helper.make_node("Identity", ["a"], ["b"])]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("", "F", ["a"], ["b"], body, opsets))


def branch(model: onnx.ModelProto) -> None:
    graph = helper.make_graph([], "then", [], [])
    node = helper.make_node("If", ["c"], ["x"], name="fork", then_branch=graph, else_branch=graph)
    model.graph.node.append(node)


def branch_in_disguise(model: onnx.ModelProto) -> None:
    branch(model)
    for attribute in model.graph.node[-1].attribute:
        attribute.type = onnx.AttributeProto.INT


def sparse_weights(model: onnx.ModelProto) -> None:
    values = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    places = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    sparse = helper.make_sparse_tensor(values, places, [4])
    model.graph.sparse_initializer.append(sparse)


def two_payloads(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].float_data.append(1.0)


def training_graph(model: onnx.ModelProto) -> None:
    model.training_info.add()


@pytest.mark.usefixtures("no_runtime")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (weights_elsewhere("weights.bin"), r"refused: the weights of '.+' lie in another file"),
        (weights_elsewhere("../../../etc/passwd"), "lie in another file"),
        (weights_elsewhere("/etc/passwd"), "lie in another file"),
        (hidden_external_entry, "lie in another file"),
        (constant_elsewhere, "the weights of 'c' lie in another file"),
        (own_domain, "operators of the domain 'com.evil'"),
        (undeclared_domain, "operators of the domain 'com.microsoft'"),
        (own_function, "defines functions of its own"),
        (branch, "node 'fork' holds a graph"),
        (branch_in_disguise, "node 'fork' holds a graph"),
        (sparse_weights, "holds sparse tensors"),
        (two_payloads, "holds two sets of values"),
        (training_graph, "holds a training graph"),
        (bomb, "uses the operator 'Tile', which no detector of ours has"),
    ],
)
def test_hostile_files_never_reach_the_runtime(
    change: Change, message: str, model: onnx.ModelProto, tmp_path: Path
) -> None:
    change(model)
    path = tmp_path / "bad.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ExportError, match=rf"bad\.onnx: .*{message}"):
        backend.open(path)


def set_metadata(model: onnx.ModelProto, key: str, text: str) -> None:
    for entry in model.metadata_props:
        if entry.key == key:
            entry.value = text


def set_code(model: onnx.ModelProto) -> None:
    set_metadata(model, "names", "__import__('pathlib').Path('canary').touch()")


def as_yolov5_writes_it(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]
    helper.set_model_props(model, {"stride": "32", "names": "{0: 'plum'}"})


@pytest.mark.usefixtures("no_runtime")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.metadata_props.__delitem__(slice(None)), "metadata lack prunus_format, names"),
        (as_yolov5_writes_it, r"metadata lack prunus_format, size_hw.*Export the weights with"),
        (set_code, "metadata 'names' is not JSON"),
        (lambda m: set_metadata(m, "names", "[" * 100_000), "metadata 'names' is not JSON"),
        (lambda m: set_metadata(m, "names", '["' + "x" * 2_000_000 + '"]'), "too long"),
        (lambda m: set_metadata(m, "names", "[]"), r"metadata 'names': .*at least 1"),
        (lambda m: set_metadata(m, "names", '["\\u001b[2J"]'), r"'names\.0': holds control"),
        (lambda m: set_metadata(m, "stride", '"32"'), "metadata 'stride': .*integer"),
        (lambda m: set_metadata(m, "prunus_format", "2"), "format 2, .*Update prunus"),
        (lambda m: set_metadata(m, "size_hw", "[40000, 40000]"), r"'size_hw\.0': .*16384"),
        (lambda m: set_metadata(m, "size_hw", "[16384, 16384]\n"), "input 'images'|pixels"),
        (lambda m: set_metadata(m, "batch", "131072"), "metadata 'batch': .*1024"),
        (lambda m: set_metadata(m, "stride", "32768"), "metadata 'stride': .*1024"),
        (lambda m: set_metadata(m, "letterbox", '{"divide_by": 0}'), "'letterbox.divide_by'"),
        (lambda m: set_metadata(m, "size_hw", "[96, 96]"), r"input 'images' is \[1, 3, 64, 64\]"),
        (lambda m: set_metadata(m, "names", '["a"]'), r"output 'output0' is .*promise"),
        (lambda m: m.graph.input.add(name="more"), "expected one input 'images', found images, m"),
        (lambda m: m.graph.output.pop(), "expected one output 'output0', found none"),
    ],
)
def test_foreign_or_damaged_facts_are_named(
    change: Change,
    message: str,
    model: onnx.ModelProto,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    change(model)
    path = tmp_path / "bad.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ExportError, match=rf"bad\.onnx: .*{message}"):
        backend.open(path)
    assert not Path("canary").exists()


@pytest.mark.usefixtures("no_runtime")
@pytest.mark.parametrize(
    "content",
    [b"", b"plain text, long enough to be parsed as something\n", b"\xff\xd8\xff\xe0" + bytes(64)],
)
def test_what_is_no_onnx_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=r"bad\.onnx: not an ONNX file"):
        backend.open(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(share: float, model: onnx.ModelProto, tmp_path: Path) -> None:
    content = model.SerializeToString()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ExportError, match=r"cut\.onnx: "):
        backend.open(path)


@pytest.mark.usefixtures("no_runtime")
def test_an_oversized_file_is_refused_unread(
    model: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.onnx"
    path.write_bytes(model.SerializeToString())
    monkeypatch.setattr(vetting, "MAX_BYTES", 1_000_000)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("the file was read"))
    with pytest.raises(ExportError, match=r"large\.onnx: \d+ MB; models above 1 MB are refused"):
        backend.open(path)


def test_a_graph_that_the_runtime_cannot_load_is_one_line(
    model: onnx.ModelProto, tmp_path: Path
) -> None:
    model.graph.node[0].op_type = "Tanh"  # takes one input, and gets three
    path = tmp_path / "bad.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ExportError, match=r"bad\.onnx: ONNX Runtime refuses it: [^\n]+$"):
        backend.open(path)


def test_facts_are_json_that_others_can_read(model: onnx.ModelProto) -> None:
    metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert metadata["names"] == ["plum", "leaf", "fallen blossom"]
    assert metadata["stride"] == 32
    assert metadata["size_hw"] == [64, 64]
    assert metadata["letterbox"] == {
        "pad_value": 114,
        "scale_up": True,
        "channels": "RGB",
        "divide_by": 255.0,
    }
    assert np.shape(metadata["anchors_px"]) == (3, 3, 2)
