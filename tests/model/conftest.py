"""A small detector for the model room's tests."""

import pytest
import torch

from prunus.model.build import build_detector
from prunus.model.detector import Detector
from prunus.model.spec import read_arch


@pytest.fixture
def nano() -> Detector:
    torch.manual_seed(0)
    return build_detector(read_arch("yolov5n"), ["plum", "leaf", "blossom"])
