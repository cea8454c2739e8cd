"""Detectors whose batch norms matter, for the prune room's tests."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from prunus.model.build import build_detector
from prunus.model.detector import Detector
from prunus.model.spec import read_arch


@pytest.fixture(scope="session")
def make_detector() -> Callable[[str], Detector]:
    """Build a detector by name, with random scales, offsets and statistics."""

    def make(name: str) -> Detector:
        torch.manual_seed(0)
        detector = build_detector(read_arch(name), ["plum", "leaf", "blossom"])
        randomise(detector)
        return detector

    return make


@pytest.fixture
def nano(make_detector: Callable[[str], Detector]) -> Detector:
    return make_detector("yolov5n")


@pytest.fixture(scope="session")
def randomised() -> Callable[[nn.Module], nn.Module]:
    return randomise


def randomise(network: nn.Module) -> nn.Module:
    """Give batch norms scales, offsets and statistics that change the outputs."""
    random = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            count = module.num_features
            module.weight.data = torch.rand(count, generator=random) * 1.5 + 0.25
            module.bias.data = torch.randn(count, generator=random) * 0.5
            module.running_mean = torch.randn(count, generator=random) * 0.2
            module.running_var = torch.rand(count, generator=random) * 0.5 + 0.5
    return network
