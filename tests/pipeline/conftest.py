"""A generated data set of 16 images, a detector trained on it for one epoch, and how verbs run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prunus.cli.main import main
from prunus.core.config import parse
from prunus.core.runs import CONFIG, LOG, REPORT, SCHEMA_VERSION
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


@pytest.fixture(scope="session")
def run() -> Callable[..., dict[str, Any]]:
    """Runs a verb into a folder, looks at what all verbs leave there, and returns its report."""

    def do(out: Path, *words: object, code: int = 0) -> dict[str, Any]:
        assert main([*map(str, words), "--out", str(out), "--quiet"]) == code
        if code:
            return {}
        report: dict[str, Any] = json.loads((out / REPORT).read_text())
        assert (out / CONFIG).is_file()
        assert (out / LOG).is_file()
        assert report["schema_version"] == SCHEMA_VERSION
        return report

    return do


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Sees that a command is refused: one line that holds the message, exit code 2, no folder."""

    def check(message: str, *words: object) -> None:
        out = tmp_path / "refused"
        assert main([*map(str, words), "--out", str(out)]) == 2
        said = capsys.readouterr().err.strip()
        assert message in said
        assert "\n" not in said
        assert not out.exists()

    return check
