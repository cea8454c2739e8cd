"""What a report says of a file that predicts."""

from pathlib import Path

import pytest
import torch

from prunus.export.backends import BACKENDS
from prunus.export.form import Form
from prunus.model.build import build_detector
from prunus.model.spec import read_arch
from prunus.pipeline.models import open_model
from prunus.weights.native import save_weights

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("runtime", BACKENDS)
def test_the_size_is_that_of_all_that_belongs_to_the_file(runtime: str, tmp_path: Path) -> None:
    backend = BACKENDS[runtime]
    torch.manual_seed(0)
    detector = build_detector(read_arch("yolov5n"), ["plum"]).eval()
    path = tmp_path / f"model{backend.suffix}"
    if backend.write is None:
        save_weights(detector, path)
    else:
        backend.write(detector, path, Form((64, 64)))
    written = sum(file.stat().st_size for file in tmp_path.iterdir())
    opened = open_model(path, device="cpu", precision="fp32")
    assert opened.facts["file_mb"] == round(written / 1e6, 3) > 1
