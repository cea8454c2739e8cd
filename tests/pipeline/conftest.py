"""A generated data set of 16 images and a detector trained on it for one epoch, made once."""

from pathlib import Path
from typing import Any

import pytest

from prunus.core.config import parse
from prunus.data.scenes.write import write_demo
from prunus.pipeline.train import train
from prunus.train.config import TrainConfig

SIDE = 64


@pytest.fixture(scope="session")
def orchard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The YAML of 10 training, 4 validation and 2 test images of 64 pixels."""
    folder = tmp_path_factory.mktemp("data") / "orchard"
    return write_demo(folder, train=10, val=4, test=2, image_size=SIDE, seed=0)


@pytest.fixture(scope="session")
def trained(orchard: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of a training from scratch, two epochs with the sparsity pull on."""
    settings = parse(
        TrainConfig,
        {
            "data": orchard,
            "cfg": "yolov5n",
            "epochs": 2,
            "batch_size": 4,
            "nominal_batch": 4,
            "image_size": SIDE,
            "sparsity": "auto",
            "precision": "fp32",
            "out": tmp_path_factory.mktemp("run") / "train",
        },
    )
    return train(settings)


@pytest.fixture(scope="session")
def weights(trained: dict[str, Any]) -> Path:
    return Path(trained["last"])
