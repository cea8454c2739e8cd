"""Official checkpoints are read as they were written, in all the forms that YOLOv5 wrote them."""

import argparse
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from prunus.core.errors import WeightsError
from prunus.model.activations import ACTIVATIONS
from prunus.model.build import build_detector
from prunus.model.cost import count_parameters
from prunus.model.detector import Detector
from prunus.model.spec import arch_from_mapping, read_arch
from prunus.model.swap import with_activation
from prunus.weights.files import load_weights


def assert_same(loaded: Detector, expected: Detector) -> None:
    theirs, ours = expected.state_dict(), loaded.state_dict()
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name
    image = torch.rand(1, 3, 64, 32)
    for raw, wanted in zip(loaded(image), expected.eval()(image), strict=True):
        torch.testing.assert_close(raw, wanted)


def save(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def test_a_stripped_checkpoint_gives_the_tensors_names_and_rows(
    tmp_path: Path, small_detector: Detector, official: Any
) -> None:
    content = {"epoch": -1, "model": official(small_detector), "ema": None, "optimizer": None}
    checkpoint = load_weights(save(tmp_path / "small.pt", content))

    assert_same(checkpoint.detector, small_detector)
    assert checkpoint.detector.names == small_detector.names
    assert checkpoint.detector.spec == small_detector.spec
    assert checkpoint.detector.strides == (4, 8)
    assert not checkpoint.detector.training
    assert all(p.requires_grad for p in checkpoint.detector.parameters())
    assert checkpoint.history == ()
    assert "AGPL-3.0" in checkpoint.licence
    assert len(checkpoint.sha256) == 64


def test_an_unstripped_checkpoint_with_all_that_training_adds(
    tmp_path: Path, small_detector: Detector, official: Any
) -> None:
    model = official(small_detector)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = {name: tensor.clone() for name, tensor in small_detector.state_dict().items()}
    optimizer.step()
    small_detector.load_state_dict(before)
    content = {
        "epoch": 3,
        "best_fitness": np.float64(0.25),
        "model": model,
        "ema": None,
        "updates": 12,
        "optimizer": optimizer.state_dict(),
        "wandb_id": None,
        "opt": {
            "weights": Path("yolov5n.pt"),
            "namespace": argparse.Namespace(freeze=[0], device=torch.device("cpu")),
            "size": torch.Size([3, 4]),
            "fitness": np.array([0.5]),
        },
        "git": {"remote": "https://github.com/ultralytics/yolov5", "branch": None, "commit": "1"},
        "date": "2022-11-22T00:00:00",
        "hooks": OrderedDict(a=1),
    }
    loaded = load_weights(save(tmp_path / "last.pt", content)).detector
    assert_same(loaded, small_detector)


def test_later_versions_call_the_class_detection_model(
    tmp_path: Path, small_detector: Detector, official: Any
) -> None:
    model = official(small_detector, kind="DetectionModel")
    assert_same(load_weights(save(tmp_path / "v7.pt", {"model": model})).detector, small_detector)
    model = official(small_detector, kind="SegmentationModel")
    with pytest.raises(WeightsError, match=r"holds a models\.yolo\.SegmentationModel, not a det"):
        load_weights(save(tmp_path / "seg.pt", {"model": model}))


def test_the_averaged_weights_are_preferred(
    tmp_path: Path, small_detector: Detector, official: Any
) -> None:
    raw = build_detector(small_detector.spec, small_detector.names)
    content = {"model": official(raw), "ema": official(small_detector), "updates": 5}
    assert_same(load_weights(save(tmp_path / "last.pt", content)).detector, small_detector)


def test_a_bare_model_is_a_checkpoint_too(
    tmp_path: Path, small_detector: Detector, official: Any
) -> None:
    assert_same(
        load_weights(save(tmp_path / "bare.pt", official(small_detector))).detector, small_detector
    )


@pytest.mark.parametrize("form", [dict, list, tuple])
def test_names_may_be_a_list_or_a_dict(
    tmp_path: Path, small_detector: Detector, official: Any, form: type
) -> None:
    names = small_detector.names
    given = {2: names[2], 0: names[0], 1: names[1]} if form is dict else form(names)
    path = save(tmp_path / "named.pt", {"model": official(small_detector, names=given)})
    assert load_weights(path).detector.names == names


def test_without_names_the_classes_are_numbered(
    tmp_path: Path, small_detector: Detector, official: Any
) -> None:
    path = save(tmp_path / "unnamed.pt", {"model": official(small_detector, names=None)})
    assert load_weights(path).detector.names == ("0", "1", "2")


def test_half_precision_becomes_float32_exactly(
    tmp_path: Path, small_detector: Detector, official: Any
) -> None:
    path = save(tmp_path / "half.pt", {"model": official(small_detector).half()})
    loaded = load_weights(path).detector
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert_same(loaded, small_detector.float())


def test_a_data_parallel_wrapper_is_taken_off(
    tmp_path: Path, small_detector: Detector, official: Any
) -> None:
    wrapped = nn.DataParallel(official(small_detector))
    assert_same(load_weights(save(tmp_path / "dp.pt", {"model": wrapped})).detector, small_detector)


@pytest.mark.parametrize("form", ["buffer", "list", "transient buffer"])
def test_left_over_anchor_grids_are_ignored(
    tmp_path: Path, small_detector: Detector, official: Any, form: str
) -> None:
    model = official(small_detector)
    head, grid = model.model[-1], torch.ones(2, 1, 2, 1, 1, 2)
    if form == "list":
        head.anchor_grid = [torch.zeros(1)] * 2
    elif form == "buffer":
        head.register_buffer("anchor_grid", grid)
    else:
        head.register_buffer("shape", grid, persistent=False)
    head.grid = [torch.zeros(1)] * 2
    assert_same(load_weights(save(tmp_path / "grid.pt", {"model": model})).detector, small_detector)


def test_anchors_are_those_of_the_tensors_not_of_the_yaml(
    tmp_path: Path, small_detector: Detector, official: Any
) -> None:
    model = official(small_detector)
    model.yaml["anchors"] = 3
    model.model[-1].anchors = torch.full((2, 3, 2), 1.5)
    spec = load_weights(save(tmp_path / "auto.pt", {"model": model})).detector.spec
    assert spec.anchors_px == (((6.0, 6.0),) * 3, ((12.0, 12.0),) * 3)


def test_strides_of_memory_are_respected(
    tmp_path: Path, small_detector: Detector, official: Any
) -> None:
    model = official(small_detector).to(memory_format=torch.channels_last)
    assert_same(load_weights(save(tmp_path / "last.pt", {"model": model})).detector, small_detector)


def test_a_model_pruned_by_hand_keeps_its_widths(
    tmp_path: Path, narrow_detector: Detector, official: Any
) -> None:
    path = save(tmp_path / "narrow.pt", {"model": official(narrow_detector)})
    loaded = load_weights(path).detector
    assert loaded.model[0].conv.out_channels == 5
    assert loaded.model[2].m[0].cv1.bn.num_features == 2
    assert_same(loaded, narrow_detector)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_checkpoint_of_another_activation_is_read(
    name: str, tmp_path: Path, small_detector: Detector, official: Any
) -> None:
    other = with_activation(small_detector, name)
    loaded = load_weights(save(tmp_path / "other.pt", {"model": official(other)})).detector
    assert loaded.spec.activation == name
    assert_same(loaded, other)


def test_another_slope_is_refused(tmp_path: Path, small_detector: Detector, official: Any) -> None:
    model = official(with_activation(small_detector, "leaky_relu"))
    model.model[0].act = nn.LeakyReLU(0.2)
    path = save(tmp_path / "steep.pt", {"model": model})
    with pytest.raises(WeightsError, match=r"model\.0\.act: its rows need negative_slope 0\.1"):
        load_weights(path)


def test_reading_leaves_the_random_state_alone(
    tmp_path: Path, small_detector: Detector, official: Any
) -> None:
    path = save(tmp_path / "small.pt", {"model": official(small_detector)})
    before = torch.get_rng_state()
    load_weights(path)
    assert torch.equal(torch.get_rng_state(), before)


GONE = object()


def edit(model: Any, place: str, value: Any) -> Any:
    """Set what lies at a dotted place of an official model, or delete it."""
    *parents, last = place.split(".")
    holder = model
    for part in parents:
        holder = step_into(holder, part)
    if isinstance(holder, dict):
        holder[last] = value
    elif isinstance(holder, list):
        holder[int(last)] = value
    elif value is GONE:
        delattr(holder, last)
    else:
        setattr(holder, last, value)
    return model


def step_into(holder: Any, part: str) -> Any:
    if isinstance(holder, dict):
        return holder[part]
    return holder[int(part)] if part.isdigit() else getattr(holder, part)


def weights(*shape: int, fill: float = 0.0) -> nn.Parameter:
    return nn.Parameter(torch.full(shape, fill))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("model.0.act", nn.LeakyReLU(0.1), r"model\.0\.act: its rows need SiLU, .*LeakyReLU"),
        ("yaml.activation", "nn.ReLU()", r"model\.0\.act: its rows need ReLU, .*SiLU"),
        ("yaml.activation", "nn.ReLo()", r"no activation 'nn\.ReLo\(\)'\. Did you mean 'relu"),
        ("yaml.activation", ["nn.ReLU()"], r"no activation \['nn\.ReLU\(\)'\]\. Give one of"),
        ("model.0.bn.eps", 1e-5, r"model\.0\.bn: its rows need eps 0\.001, the file has another"),
        ("model.0.conv.padding", (0, 0), r"model\.0\.conv: its rows need padding \(2, 2\)"),
        ("model.4.m.kernel_size", 3, r"model\.4\.m: its rows need kernel_size 5"),
        ("model.2.m.0.add", False, r"model\.2\.m\.0: its rows need add True"),
        ("yaml.backbone.0.2", "Focus", r"has a Focus row, .*v5 and older.*v6\.0 to v7\.0"),
        ("yaml.backbone.0.2", "BottleneckCSP", r"has a BottleneckCSP row, .*v5 and older"),
        ("yaml.backbone.0.2", "GhostConv", r"block 'GhostConv' is not one of YOLOv5 v6's"),
        ("yaml.backbone.0.2", "C3", r"lacks the tensor model\.0\.cv1\.conv\.weight"),
        ("yaml.backbone.0.3", ["x"], r"block 'Conv' does not take the arguments"),
        ("yaml.backbone.0", "row", r"row 0: expected \[from, repeats, block, arguments\]"),
        ("yaml.backbone.0.2", "Conv" * 100, r"embedded architecture that is no list of YOLOv5"),
        ("yaml.backbone.0.3", [torch.ones(1)], r"embedded architecture that is no list of YOLOv5"),
        ("model.0.bn", GONE, r"lacks the tensor model\.0\.bn\.weight"),
        ("model.0.extra", nn.Conv2d(1, 1, 1), r"has the tensor model\.0\.extra\.weight, which its"),
        ("model.0.conv.weight", weights(8, 3, 3, 3), r"\(outputs, inputs, 6, 6\).*\(8, 3, 3, 3\)"),
        ("model.0.conv.weight", weights(8, 4, 6, 6), r"\(8, 4, 6, 6\).* 4 channels, but 3 arrive"),
        ("model.0.conv.weight", weights(9, 3, 6, 6), r"model\.0\.bn: has 8 channels, but 9 arrive"),
        ("model.0.conv.weight", weights(0, 3, 6, 6), r"the file has \(0, 3, 6, 6\)"),
        ("model.0.conv.weight", weights(8), r"the file has \(8,\)"),
        (
            "model.0.conv.weight",
            weights(8, 3, 6, 6, fill=float("nan")),
            r"model\.0\.conv\.weight: holds NaN or infinite values.*earlier checkpoint",
        ),
        (
            "model.0.conv.weight",
            nn.Parameter(torch.ones(8, 3, 6, 6, dtype=torch.int64), requires_grad=False),
            r"model\.0\.conv\.weight: its layer needs float32 .*the file has int64",
        ),
        ("model.0.bn.running_var", torch.full((8,), torch.inf), r"running_var: holds NaN or inf"),
        ("model.0.bn.running_mean", torch.zeros(7), r"needs \(8,\), the file has \(7,\)"),
        (
            "model.0.bn.num_batches_tracked",
            torch.zeros(2).long(),
            r"needs int64 \(\), the file has",
        ),
        ("names", ["plum", "leaf"], r"model\.9\.m\.0: 2 class names and 3 anchors need 21 chan"),
        ("names", {0: "plum", 2: "leaf", 3: "blossom"}, r"numbers its class names with gaps"),
        ("names", [1, 2, 3], r"class name that is no text"),
        ("names", ["plum", "leaf\x1b[2J", "b"], r"class name that is no text .* on one line"),
        ("names", [], r"has no list of class names"),
        ("names", 5, r"has no list of class names"),
        ("model.9.anchors", torch.zeros(2, 3, 2), r"model\.9\.anchors: anchors must be finite"),
        ("model.9.anchors", torch.ones(3, 3, 2), r"anchors: the head reads 2 levels"),
        ("model.9.anchors", torch.ones(2, 3), r"expected \(levels, anchors, 2\), got \(2, 3\)"),
        ("model.9.anchors", GONE, r"has no anchors"),
        ("yaml", GONE, r"holds no architecture \(`yaml`\) beside its model"),
        ("yaml.head", None, r"head: expected a list"),
        ("yaml.ch", 4, r"images of other than 3 channels"),
        ("yaml.depth_multiple", 1e9, r"embedded architecture that is no list of YOLOv5 rows"),
        ("yaml.depth_multiple", float("nan"), r"embedded architecture that is no list of YOLOv5"),
        ("yaml.depth_multiple", 100.0, r"has a depth_multiple that is no number up to 8"),
        ("yaml.width_multiple", "x", r"has a width_multiple that is no number up to 8"),
        ("yaml.backbone.2.1", 900, r"more blocks than the file has tensors"),
        ("yaml.head.2.0", [-1, 0], r"its architecture cannot be built: .*do not fit together"),
        ("yaml.head.4.0", [8], r"anchors: the head reads 1 levels"),
    ],
)
def test_what_is_unlike_yolov5_v6_is_refused_by_name(
    tmp_path: Path, small_detector: Detector, official: Any, place: str, value: Any, message: str
) -> None:
    path = save(tmp_path / "odd.pt", {"model": edit(official(small_detector), place, value)})
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_row_of_another_class_is_refused(
    tmp_path: Path, small_detector: Detector, official: Any
) -> None:
    model = official(small_detector)
    model.model[2].__class__ = sys.modules["models.common"].C3Pruned
    with pytest.raises(WeightsError, match=r"model\.2: its rows say C3, the file has a C3Pruned"):
        load_weights(save(tmp_path / "fork.pt", {"model": model}))


def test_a_fused_model_is_refused(tmp_path: Path, small_detector: Detector, official: Any) -> None:
    model = official(small_detector)
    for layer in list(model.modules()):
        if hasattr(layer, "bn"):
            del layer.bn
    with pytest.raises(WeightsError, match="is fused: its batch norms are folded away"):
        load_weights(save(tmp_path / "fused.pt", {"model": model}))


@pytest.mark.usefixtures("official")
def test_other_kinds_of_content_are_named(tmp_path: Path, small_detector: Detector) -> None:
    state = small_detector.state_dict()
    for name, content, message in (
        ("a", state, "holds only tensors, no architecture"),
        ("b", {"model": state}, "holds only tensors, no architecture"),
        ("c", {"state_dict": state}, "holds only tensors, no architecture"),
        ("d", {"epoch": 3}, "holds no model"),
        ("e", [1, 2], "holds no model"),
        ("f", {"model": nn.Conv2d(1, 1, 1)}, r"holds a torch\.nn\.modules\.conv\.Conv2d, not a"),
        ("g", {"model": nn.DataParallel(nn.Sequential())}, "holds a torch.nn.modules.container"),
    ):
        with pytest.raises(WeightsError, match=message):
            load_weights(save(tmp_path / f"{name}.pt", content))


@pytest.mark.parametrize("protocol", [4, 5])
def test_other_pickle_protocols_are_named(
    tmp_path: Path, small_detector: Detector, official: Any, protocol: int
) -> None:
    path = tmp_path / "protocol.pt"
    torch.save({"model": official(small_detector)}, path, pickle_protocol=protocol)
    with pytest.raises(WeightsError, match=f"protocol {protocol}; torch.save writes 2 by default"):
        load_weights(path)


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source")
def test_the_old_form_of_torch_save_is_named(
    tmp_path: Path, small_detector: Detector, official: Any
) -> None:
    path = tmp_path / "legacy.pt"
    model = {"model": official(small_detector)}
    torch.save(model, path, _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match=r"before version 1\.6"):
        load_weights(path)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_named(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    torch.jit.script(nn.ReLU()).save(str(path))
    with pytest.raises(WeightsError, match="TorchScript archive: a program, not a checkpoint"):
        load_weights(path)


def test_a_file_cannot_ask_for_more_memory_than_it_has(
    tmp_path: Path, small_detector: Detector, official: Any
) -> None:
    model = official(small_detector)
    model.yaml["width_multiple"] = 8.0
    # 480,000 channels each: 480,000^2 x 3 x 3 weights of 4 bytes are 8 TB, if they were made
    model.yaml["backbone"][0][3] = [60_000, 6, 2, 2]
    model.yaml["backbone"][1][3] = [60_000, 3, 2]
    assert_same(load_weights(save(tmp_path / "wide.pt", {"model": model})).detector, small_detector)


def test_rows_of_the_shipped_models_load_alike(tmp_path: Path, official: Any) -> None:
    """The real row tables, with a real file's class names."""
    torch.manual_seed(0)
    detector = build_detector(read_arch("yolov5n"), [f"class {i}" for i in range(80)]).eval()
    path = save(tmp_path / "n.pt", {"model": official(detector)})
    assert_same(load_weights(path).detector, detector)
    assert arch_from_mapping(detector.spec.to_mapping(), "n") == detector.spec


@pytest.mark.parity
def test_the_official_yolov5n_has_its_published_facts(assets: Path) -> None:
    checkpoint = load_weights(assets / "weights" / "yolov5n.pt")
    detector = checkpoint.detector
    assert count_parameters(detector) == 1_872_157
    assert len(detector.names) == 80
    assert detector.names[0] == "person"
    assert detector.names[79] == "toothbrush"
    assert detector.strides == (8, 16, 32)
    assert detector.spec.anchors_px[0] == ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0))
    assert checkpoint.sha256.startswith("edd2e5cc")
    for layer in detector.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.eps == 1e-3


@pytest.mark.parity
def test_the_official_yolov5n_computes_what_torch_reads_of_it(assets: Path) -> None:
    """Agreement with `torch.load(weights_only=True)` over inert stand-ins, tensor by tensor."""
    path = assets / "weights" / "yolov5n.pt"
    stubs: dict[str, type] = {}

    def stub(name: str) -> tuple[type, str]:
        module, _, short = name.rpartition(".")
        stubs[name] = type(short, (nn.Module,), {"__module__": module})
        return stubs[name], name

    names = [f"models.common.{n}" for n in ("Conv", "C3", "Bottleneck", "SPPF", "Concat")]
    allowed: list[Any] = [stub(n) for n in [*names, "models.yolo.Model", "models.yolo.Detect"]]
    layers = torch.nn.modules
    allowed += [nn.Sequential, nn.ModuleList, nn.Conv2d, nn.BatchNorm2d, nn.SiLU, nn.MaxPool2d]
    allowed += [layers.upsampling.Upsample, set, np.ndarray, np.dtype, np.dtypes.Float64DType]
    allowed += [(np._core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct")]
    with torch.serialization.safe_globals(allowed):
        theirs = torch.load(path, weights_only=True)["model"].float().state_dict()
    ours = load_weights(path).detector.state_dict()
    assert set(theirs) - set(ours) == {"model.24.anchor_grid"}
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
