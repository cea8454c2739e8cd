"""`--fresh`: the shape of a weights file, and nothing else of it."""

from pathlib import Path

import pytest
import torch

from prunus.core.config import parse
from prunus.core.errors import TrainingError
from prunus.model.build import build_detector, renew_
from prunus.model.spec import read_arch
from prunus.train.config import TrainConfig
from prunus.train.start import starting_point
from prunus.weights.native import save_weights

NAMES = ("plum", "leaf")


def test_fresh_weights_are_those_of_a_new_detector() -> None:
    """Same seed, same shape: every tensor is what `build_detector` would have made."""
    torch.manual_seed(5)
    new = build_detector(read_arch("yolov5n"), NAMES)
    old = build_detector(read_arch("yolov5n"), NAMES)
    for parameter in old.parameters():
        torch.nn.init.constant_(parameter, 0.125)
    torch.manual_seed(5)
    renew_(old)
    for name, tensor in new.state_dict().items():
        assert torch.equal(tensor, old.state_dict()[name]), name


def test_the_shape_of_the_file_stays(tmp_path: Path) -> None:
    detector = build_detector(read_arch("yolov5n"), NAMES)
    path = tmp_path / "w.safetensors"
    save_weights(detector, path)
    settings = parse(TrainConfig, {"weights": path, "fresh": True})
    begun, origin = starting_point(settings, NAMES)
    saved = detector.state_dict()
    assert {n: t.shape for n, t in begun.state_dict().items()} == {
        n: t.shape for n, t in saved.items()
    }
    assert not torch.equal(begun.state_dict()["model.3.conv.weight"], saved["model.3.conv.weight"])
    assert len(origin.parent) == 64


def test_fresh_needs_weights() -> None:
    settings = parse(TrainConfig, {"cfg": "yolov5n", "fresh": True})
    with pytest.raises(TrainingError, match="--fresh: takes the shape of --weights"):
        starting_point(settings, NAMES)
