"""The native format: what is saved comes back to the bit, and damage anywhere is noticed."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

import prunus
from prunus.core.errors import PrunusError, WeightsError
from prunus.model.activations import ACTIVATIONS
from prunus.model.cost import count_parameters
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.swap import with_activation
from prunus.weights import native
from prunus.weights.files import load_weights
from prunus.weights.native import Step, save_weights


def assert_same(loaded: Detector, expected: Detector) -> None:
    theirs, ours = expected.state_dict(), loaded.state_dict()
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype, name
        assert torch.equal(ours[name], tensor), name
    image = torch.rand(1, 3, 32, 64)
    for raw, wanted in zip(loaded(image), expected.eval()(image), strict=True):
        assert torch.equal(raw, wanted)


def header_of(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    with safe_open(path, framework="pt") as file:
        content = json.loads(file.metadata()["prunus"])
        return content, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def rewrite(path: Path, content: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """Write a file with a header of any content and the digest that belongs to it."""
    content = {key: value for key, value in content.items() if key != "sha256"}
    digest = native._digest(content, tensors)
    save_file(tensors, path, {"prunus": json.dumps({**content, "sha256": digest})})


def test_all_that_a_checkpoint_says_comes_back(tmp_path: Path, small_detector: Detector) -> None:
    path = tmp_path / "new" / "small.safetensors"
    step = Step("train", {"epochs": 3, "lr": 0.01, "freeze": [0, 1]}, "a" * 64, {"map50": 0.5})
    save_weights(small_detector, path, history=(step,), licence="Apache-2.0")
    checkpoint = load_weights(path)

    assert_same(checkpoint.detector, small_detector)
    assert checkpoint.detector.names == small_detector.names
    assert checkpoint.detector.spec == small_detector.spec
    assert checkpoint.detector.strides == small_detector.strides
    assert checkpoint.history == (step,)
    assert checkpoint.licence == "Apache-2.0"
    assert checkpoint.source == path
    assert not checkpoint.detector.training
    assert all(p.requires_grad for p in checkpoint.detector.parameters())


def test_a_pruned_detector_keeps_its_widths(tmp_path: Path, narrow_detector: Detector) -> None:
    path = tmp_path / "narrow.safetensors"
    save_weights(narrow_detector, path)
    loaded = load_weights(path).detector
    assert_same(loaded, narrow_detector)
    assert loaded.model[0].conv.out_channels == loaded.model[0].bn.num_features == 5
    assert loaded.model[1].conv.in_channels == 5
    assert count_parameters(loaded) == count_parameters(narrow_detector)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_activation_comes_back_and_silu_is_not_spoken_of(
    name: str, tmp_path: Path, narrow_detector: Detector
) -> None:
    other = with_activation(narrow_detector, name)
    path = tmp_path / "other.safetensors"
    save_weights(other, path)
    architecture = header_of(path)[0]["architecture"]
    plain = ["family", "depth_multiple", "width_multiple", "anchors", "backbone", "head"]
    assert [key for key in architecture if key != "activation"] == plain
    assert architecture.get("activation") == (
        None if name == "silu" else ACTIVATIONS[name].spelling
    )
    loaded = load_weights(path).detector
    assert loaded.spec.activation == name
    assert_same(loaded, other)


def test_an_unknown_activation_in_a_header_is_refused(
    tmp_path: Path, small_detector: Detector
) -> None:
    path = tmp_path / "odd.safetensors"
    save_weights(small_detector, path)
    content, tensors = header_of(path)
    content["architecture"]["activation"] = "nn.Relu6()"
    rewrite(path, content, tensors)
    with pytest.raises(WeightsError, match=r"no activation 'nn\.Relu6\(\)'\. Did you mean 'relu"):
        load_weights(path)


def without_bottlenecks(detector: Detector) -> Detector:
    """Row 2 (2 bottlenecks) is left with its second, row 8 (1) with none."""
    del detector.model[2].m[0]
    del detector.model[8].m[0]
    counts = [1, 1, 1, 1, 1, 1, 1, 1, 0, 1]
    detector.spec = detector.spec.with_repeats(counts)
    return detector


def test_a_detector_with_fewer_bottlenecks_or_none_comes_back(
    tmp_path: Path, narrow_detector: Detector
) -> None:
    shallow = without_bottlenecks(narrow_detector)
    path = tmp_path / "shallow.safetensors"
    save_weights(shallow, path)
    loaded = load_weights(path).detector
    assert_same(loaded, shallow)
    assert loaded.spec == shallow.spec
    assert (len(loaded.model[2].m), len(loaded.model[8].m)) == (1, 0)
    content, _ = header_of(path)
    assert content["architecture"]["depth_multiple"] == 1
    assert content["architecture"]["head"][3] == [-1, 0, "C3", [16, False]]


def test_rows_must_say_the_bottlenecks_that_there_are(
    tmp_path: Path, small_detector: Detector
) -> None:
    spec = small_detector.spec
    path = tmp_path / "a.safetensors"
    without_bottlenecks(small_detector)
    save_weights(small_detector, path)
    content, tensors = header_of(path)
    content["architecture"]["backbone"][2][1] = 0
    rewrite(path, content, tensors)
    with pytest.raises(
        WeightsError, match=r"has the tensor model\.2\.m\.0\.\S+, which its rows do not"
    ):
        load_weights(path)
    small_detector.spec = spec
    with pytest.raises(WeightsError, match=r"not written: .* lacks the tensor model\.2\.m\.1\."):
        save_weights(small_detector, path)


@pytest.mark.parametrize("letters", range(1, 9))
def test_outputs_do_not_depend_on_the_length_of_the_header(
    tmp_path: Path, small_detector: Detector, letters: int
) -> None:
    """Tensors begin where the header ends: read in place, they would be aligned by chance."""
    small_detector.names = ("plum", "leaf", "b" * letters)
    save_weights(small_detector, tmp_path / "a.safetensors")
    loaded = load_weights(tmp_path / "a.safetensors").detector
    assert all(tensor.data_ptr() % 16 == 0 for tensor in loaded.parameters())


def test_a_loaded_detector_can_learn(tmp_path: Path, narrow_detector: Detector) -> None:
    save_weights(narrow_detector, tmp_path / "a.safetensors")
    loaded = load_weights(tmp_path / "a.safetensors").detector.train()
    sum(raw.square().mean() for raw in loaded(torch.rand(2, 3, 32, 32))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in loaded.parameters())
    loaded.model[0].bn.running_mean += 1


def test_a_header_length_that_looks_like_a_pickle_is_no_obstacle(
    tmp_path: Path, small_detector: Detector
) -> None:
    """The first byte of a file is the lowest of its header's length: any multiple of 8."""
    path = tmp_path / "a.safetensors"
    save_weights(small_detector, path, licence="")
    missing = (0x80 - path.read_bytes()[0]) % 256
    save_weights(small_detector, path, licence="x" * missing)
    assert path.read_bytes()[0] == 0x80
    assert load_weights(path).licence == "x" * missing


def test_saving_twice_gives_the_same_bytes(tmp_path: Path, small_detector: Detector) -> None:
    """Ten times: safetensors writes several metadata entries in an order of chance."""
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    save_weights(small_detector, first, licence="MIT")
    loaded = load_weights(first).detector
    for _ in range(10):
        save_weights(loaded, second, licence="MIT")
        assert first.read_bytes() == second.read_bytes()


def test_saving_and_loading_leave_detector_and_random_state_alone(
    tmp_path: Path, small_detector: Detector
) -> None:
    before = {name: tensor.clone() for name, tensor in small_detector.state_dict().items()}
    small_detector.train()
    state = torch.get_rng_state()
    save_weights(small_detector, tmp_path / "a.safetensors")
    load_weights(tmp_path / "a.safetensors")
    assert torch.equal(torch.get_rng_state(), state)
    assert small_detector.training
    for name, tensor in small_detector.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_half_precision_and_other_memory_orders_are_stored_as_plain_float32(
    tmp_path: Path, small_detector: Detector
) -> None:
    half = small_detector.half().to(memory_format=torch.channels_last)
    save_weights(half, tmp_path / "a.safetensors")
    plain = half.float().to(memory_format=torch.contiguous_format)
    assert_same(load_weights(tmp_path / "a.safetensors").detector, plain)


def test_the_anchors_in_the_header_are_the_real_ones(
    tmp_path: Path, small_detector: Detector
) -> None:
    small_detector.head.anchors.mul_(2)  # as fitting them to a data set does
    save_weights(small_detector, tmp_path / "a.safetensors")
    content, _ = header_of(tmp_path / "a.safetensors")
    assert content["architecture"]["anchors"][0] == [20.0, 26.0, 32.0, 60.0, 66.0, 46.0]
    spec = load_weights(tmp_path / "a.safetensors").detector.spec
    assert spec.anchors_px[0][0] == (20.0, 26.0)


def test_a_step_is_stored_without_folders_and_with_plain_numbers() -> None:
    step = Step(
        "train",
        {"data": Path("/home/someone/bccd.yaml"), "project": "/home/someone/runs", "name": "a/b"},
        metrics={"map50": math.nan, "AP": [torch.tensor(0.5)]},
    )
    stored = step.to_mapping()
    assert stored["settings"] == {"data": "bccd.yaml", "project": "runs", "name": "a/b"}
    assert stored["metrics"] == {"map50": None, "AP": [0.5]}
    assert stored["version"] == prunus.__version__


def test_a_fused_detector_is_refused(tmp_path: Path, small_detector: Detector) -> None:
    with pytest.raises(WeightsError, match=r"a\.safetensors: not written: the detector is fused"):
        save_weights(fuse(small_detector), tmp_path / "a.safetensors")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_weights_are_refused_and_the_old_file_stays(
    tmp_path: Path, small_detector: Detector, value: float
) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(small_detector, path)
    before = path.read_bytes()
    small_detector.model[1].conv.weight.data[0, 0, 0, 0] = value
    with pytest.raises(
        WeightsError, match=r"not written.*model\.1\.conv\.weight: holds NaN or inf"
    ):
        save_weights(small_detector, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_detector_that_does_not_fit_together_is_refused(
    tmp_path: Path, small_detector: Detector
) -> None:
    small_detector.model[1].conv.weight = nn.Parameter(torch.zeros(8, 7, 3, 3))
    with pytest.raises(
        WeightsError, match=r"not written.*model\.1\.conv.* 7 channels, but 8 arrive"
    ):
        save_weights(small_detector, tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()


def test_the_name_must_end_as_the_format_does(tmp_path: Path, small_detector: Detector) -> None:
    with pytest.raises(WeightsError, match=r"a\.pt: weights are written as \.safetensors files"):
        save_weights(small_detector, tmp_path / "a.pt")


def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, small_detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_tensors: object, path: Path, _metadata: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device")

    path = tmp_path / "a.safetensors"
    save_weights(small_detector, path)
    before = path.read_bytes()
    monkeypatch.setattr(native, "save_file", fail)
    with pytest.raises(PrunusError, match=r"a\.safetensors: not written: .*No space left"):
        save_weights(small_detector, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, r"format version 2; Prunus .* reads up to 1\. Upgrade Prunus"),
        ({"format": 0}, "names no format version"),
        ({"format": "1"}, "names no format version"),
        ({"format": True}, "names no format version"),
        ({"names": None}, "lacks architecture, names, history or licence"),
        ({"names": []}, "has no list of class names"),
        ({"names": ["a", "b"]}, r"model\.9\.m\.0: 2 class names and 3 anchors need 21 channels"),
        ({"names": ["a", "b", "c\n"]}, "class name that is no text"),
        ({"names": ["a", "b", "\ud800"]}, "class name that is no text"),
        ({"history": [{}]}, "damaged history"),
        ({"history": [{"verb": 1}]}, "damaged history"),
        ({"licence": 3}, "lacks architecture, names, history or licence"),
        ({"architecture": {}}, "lacks backbone, head"),
        ({"architecture": []}, "lacks architecture, names, history or licence"),
    ],
)
def test_a_header_of_another_kind_is_refused(
    tmp_path: Path, small_detector: Detector, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(small_detector, path)
    content, tensors = header_of(path)
    rewrite(path, {**content, **change}, tensors)
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("key", ["licence", "names", "history", "written_by", "extra", "sha256"])
def test_a_header_that_was_altered_is_noticed(
    tmp_path: Path, small_detector: Detector, key: str
) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(small_detector, path)
    content, tensors = header_of(path)
    save_file(tensors, path, {"prunus": json.dumps({**content, key: ["plum"]})})
    with pytest.raises(WeightsError, match="does not have the SHA-256 that was written"):
        load_weights(path)


def test_words_of_a_header_reach_the_terminal_cleaned(
    tmp_path: Path, small_detector: Detector
) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(small_detector, path)
    content, tensors = header_of(path)
    content["architecture"]["backbone"][0][2] = "Conv\x1b[2J" + "x" * 5000
    rewrite(path, content, tensors)
    with pytest.raises(WeightsError, match=r"block 'Conv\?\[2Jx+…") as caught:
        load_weights(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("family", "yolov9", "no architecture family 'yolov9'"),
        ("depth_multiple", 1e300, "depth_multiple that is no number up to 8"),
        ("width_multiple", None, "width_multiple that is no number up to 8"),
        ("backbone", [], "backbone: expected a list"),
        (
            "head",
            [[-1, 0, "Conv", [8]], [[2, 4], 1, "Detect", []]],
            "'Conv' needs 1 repeat or more",
        ),
        ("backbone", [[-1, -2, "C3", [16]]], "repeats must be a whole number from 0 to 1000"),
        ("head", [[[-1], 1, "Detect", []]], "the head reads 1 levels"),
        ("head", [[[0, 1], 1, "Detect", []]], "lacks the tensor|has the tensor"),
        ("head", [[-1, 1, "Conv", [8]], [[0, 1], 1, "os.system", []]], "block 'os.system' is not"),
    ],
)
def test_rows_of_another_kind_are_refused(
    tmp_path: Path, small_detector: Detector, key: str, value: object, message: str
) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(small_detector, path)
    content, tensors = header_of(path)
    content["architecture"][key] = value
    rewrite(path, content, tensors)
    with pytest.raises(WeightsError, match=message):
        load_weights(path)


@pytest.mark.parametrize("header", ["", "{", "[]", "[" * 100_000, "1", '{"format": ' + "9" * 5000])
def test_a_header_that_is_no_json_object_is_refused(
    tmp_path: Path, small_detector: Detector, header: str
) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(small_detector, path)
    _, tensors = header_of(path)
    save_file(tensors, path, {"prunus": header})
    with pytest.raises(WeightsError, match="its header is no JSON"):
        load_weights(path)


def test_foreign_safetensors_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(WeightsError, match="without Prunus's header: it holds only tensors"):
        load_weights(path)


def test_tensors_of_another_type_are_named(tmp_path: Path, small_detector: Detector) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(small_detector, path)
    content, tensors = header_of(path)
    name = "model.0.conv.weight"
    rewrite(path, content, {**tensors, name: tensors[name].half()})
    with pytest.raises(WeightsError, match=r"model\.0\.conv\.weight: its layer needs float32"):
        load_weights(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x05", "its header is cut off"),
        (bytes(8), "its header is cut off"),
        ((2**63).to_bytes(8, "little") + b"{}", "its header is cut off"),
        (
            (17 * 2**20).to_bytes(8, "little") + b" " * (17 * 2**20),
            "a header of 17,825,792 bytes; at most 16,777,216 are read",
        ),
        ((2).to_bytes(8, "little") + b"{]", "cut off or its index is broken"),
        ((2).to_bytes(8, "little") + b"{}", "without Prunus's header"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        load_weights(path)


def test_every_flipped_bit_is_noticed(tmp_path: Path, narrow_detector: Detector) -> None:
    """By safetensors, by the JSON, or by the digest over header and tensors."""
    path = tmp_path / "a.safetensors"
    save_weights(narrow_detector, path)
    good = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(len(good), (150,), generator=generator).tolist()
    for place in places:
        damaged = bytearray(good)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match=r"a\.safetensors: "):
            load_weights(path)
