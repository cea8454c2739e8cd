"""Small detectors that find something, so that boxes can be compared and not only numbers."""

import pytest
import torch
from torch import nn

from prunus.export.backends import onnx as backend
from prunus.export.form import Form
from prunus.model.blocks import ConvBlock
from prunus.model.build import build_detector
from prunus.model.detector import Detector
from prunus.model.spec import read_arch

NAMES = ("plum", "leaf", "fallen blossom")


def lively_detector(seed: int = 0) -> Detector:
    """A yolov5n that has seen images (so signals reach its head) and whose head is not shy."""
    torch.manual_seed(seed)
    detector = build_detector(read_arch("yolov5n"), NAMES).train()
    norms = [module for module in detector.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
            norm.weight.uniform_(0.5, 1.0)
            norm.bias.normal_(0, 0.2)
        detector(torch.rand(4, 3, 128, 128))
        for norm in norms:  # quiet channels must not be blown up: they would magnify rounding
            norm.running_var.clamp_(min=0.1)
        for conv in detector.head.m:
            conv.weight.mul_(20)
            conv.bias.view(3, -1)[:, 4] += 4
            conv.bias.view(3, -1)[:, 5:] += 1
    return detector.eval()


def narrow_by_hand(detector: Detector, keep: int) -> Detector:
    """Leave `keep` channels between row 0 and row 1, as a pruning would."""
    first, second = detector.model[0], detector.model[1]
    assert isinstance(first, ConvBlock) and isinstance(second, ConvBlock)
    with torch.no_grad():
        first.conv.weight = nn.Parameter(first.conv.weight[:keep].clone())
        second.conv.weight = nn.Parameter(second.conv.weight[:, :keep].clone())
        for name in ("weight", "bias"):
            setattr(first.bn, name, nn.Parameter(getattr(first.bn, name)[:keep].clone()))
        first.bn.running_mean = first.bn.running_mean[:keep].clone()
        first.bn.running_var = first.bn.running_var[:keep].clone()
    first.conv.out_channels = first.bn.num_features = second.conv.in_channels = keep
    return detector


@pytest.fixture(scope="session")
def detector() -> Detector:
    """Shared by all tests: copy it before changing it."""
    return lively_detector()


@pytest.fixture(scope="session")
def narrow_detector() -> Detector:
    return narrow_by_hand(lively_detector(1), keep=11)


@pytest.fixture(scope="session")
def onnx_content(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of `detector`, exported at 64x64."""
    path = tmp_path_factory.mktemp("exported") / "good.onnx"
    backend.write(detector, path, Form((64, 64)))
    return path.read_bytes()
