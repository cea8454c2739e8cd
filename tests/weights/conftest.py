"""A small detector, and files as YOLOv5's own code writes them, with stand-ins of its classes."""

import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from prunus.model.blocks import C3, SPPF, Bottleneck, Concat, ConvBlock, Detect
from prunus.model.build import build_detector
from prunus.model.detector import Detector
from prunus.model.spec import arch_from_mapping

SMALL_ROWS = {
    "depth_multiple": 1.0,
    "width_multiple": 0.5,
    "anchors": [[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119]],
    "backbone": [
        [-1, 1, "Conv", [16, 6, 2, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 2, "C3", [16]],
        [-1, 1, "Conv", [32, 3, 2]],
        [-1, 1, "SPPF", [32, 5]],
    ],
    "head": [
        [-1, 1, "Conv", [16, 1, 1]],
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 2], 1, "Concat", [1]],
        [-1, 1, "C3", [16, False]],
        [[8, 4], 1, "Detect", ["nc", "anchors"]],
    ],
}
SMALL_NAMES = ("plum", "leaf", "blossom")

MakeOfficial = Callable[..., Any]
MakeArchive = Callable[..., Path]


@pytest.fixture
def small_detector() -> Detector:
    """A YOLOv5 of ten rows and two levels; its batch norms have values of their own."""
    torch.manual_seed(0)
    detector = build_detector(arch_from_mapping(SMALL_ROWS, "small"), SMALL_NAMES)
    for layer in detector.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias)
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 1.5)
            layer.num_batches_tracked += 7
    return detector.eval()


@pytest.fixture
def narrow_detector(small_detector: Detector) -> Detector:
    """The same with channels cut by hand: inside a bottleneck, and between two rows."""
    cut_outputs(small_detector.model[2].m[0].cv1, [0, 2])
    cut_inputs(small_detector.model[2].m[0].cv2.conv, [0, 2])
    cut_outputs(small_detector.model[0], [1, 2, 5, 6, 7])
    cut_inputs(small_detector.model[1].conv, [1, 2, 5, 6, 7])
    return small_detector


def cut_outputs(block: ConvBlock, keep: list[int]) -> None:
    conv, bn = block.conv, block.bn
    conv.weight = nn.Parameter(conv.weight.detach()[keep])
    conv.out_channels = bn.num_features = len(keep)
    for key in ("weight", "bias"):
        setattr(bn, key, nn.Parameter(getattr(bn, key).detach()[keep]))
    bn.running_mean, bn.running_var = bn.running_mean[keep], bn.running_var[keep]


def cut_inputs(conv: nn.Conv2d, keep: list[int]) -> None:
    conv.weight = nn.Parameter(conv.weight.detach()[:, keep])
    conv.in_channels = len(keep)


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> MakeOfficial:
    """A function: our detector → a module tree of classes named as YOLOv5 names its own."""
    yolo, common = ModuleType("models.yolo"), ModuleType("models.common")
    for module, names in (
        (yolo, ("Model", "DetectionModel", "SegmentationModel", "Detect")),
        (common, ("Conv", "C3", "Bottleneck", "SPPF", "Concat", "C3Pruned")),
    ):
        for name in names:
            setattr(module, name, type(name, (nn.Module,), {"__module__": module.__name__}))
    monkeypatch.setitem(sys.modules, "models", ModuleType("models"))
    monkeypatch.setitem(sys.modules, "models.yolo", yolo)
    monkeypatch.setitem(sys.modules, "models.common", common)
    stand_ins = {
        Detect: yolo.Detect,
        ConvBlock: common.Conv,
        C3: common.C3,
        Bottleneck: common.Bottleneck,
        SPPF: common.SPPF,
        Concat: common.Concat,
    }

    def make(detector: Detector, kind: str = "Model", **attributes: Any) -> Any:
        model = converted(detector, {**stand_ins, Detector: getattr(yolo, kind)})
        model.yaml = {**detector.spec.to_mapping(), "nc": len(detector.names), "ch": 3}
        model.names = list(detector.names)
        model.stride = torch.tensor(detector.strides, dtype=torch.float32)
        model.hyp = {"lr0": 0.01, "box": 0.05}
        for name, value in attributes.items():
            setattr(model, name, value)
        return model

    return make


def converted(module: nn.Module, stand_ins: dict[type, type]) -> nn.Module:
    """Rebuild a module tree with the stand-in of each class; parameters are shared."""
    kind = stand_ins.get(type(module))
    if kind is None and not list(module.children()):
        return module
    made = (kind or type(module)).__new__(kind or type(module))
    nn.Module.__init__(made)
    if isinstance(module, Bottleneck):
        made.add = module.add
    for name, parameter in module.named_parameters(recurse=False):
        made.register_parameter(name, parameter)
    for name, buffer in module.named_buffers(recurse=False):
        made.register_buffer(name, buffer)
    for name, child in module.named_children():
        made.add_module(name, converted(child, stand_ins))
    return made


@pytest.fixture
def archive(tmp_path: Path) -> MakeArchive:
    """A function: bytes of a pickle and of storages → the path of a `.pt` with them."""

    def make(
        pickled: bytes = b"\x80\x02}.", storages: dict[str, bytes] | None = None, **more: bytes
    ) -> Path:
        path = tmp_path / "made.pt"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", pickled)
            for key, content in (storages or {}).items():
                file.writestr(f"archive/data/{key}", content)
            file.writestr("archive/version", b"3\n")
            for name, content in more.items():
                file.writestr(name, content)
        return path

    return make
