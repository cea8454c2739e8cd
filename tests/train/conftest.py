"""Small detectors, pictures and engines for the training room's tests."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from prunus.core.config import parse
from prunus.core.records import Batch, Frame
from prunus.model.build import build_detector
from prunus.model.detector import Detector
from prunus.model.spec import read_arch
from prunus.train.build import build_engine
from prunus.train.config import TrainConfig
from prunus.train.engine import Engine

SIDE = 64
MakeBatch = Callable[..., Batch]
MakeEngine = Callable[..., Engine]


def bright_boxes(count: int, seed: int, side: int = SIDE) -> Batch:
    """Dark noise with one bright rectangle an image, whose colour channel is its class."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 60, (count, 3, side, side), dtype=np.uint8)
    targets = []
    for number in range(count):
        w, h = generator.uniform(0.25, 0.5, 2)
        x, y = generator.uniform(w / 2, 1 - w / 2), generator.uniform(h / 2, 1 - h / 2)
        left, right, top, bottom = (
            int(edge * side) for edge in (x - w / 2, x + w / 2, y - h / 2, y + h / 2)
        )
        kind = int(generator.integers(0, 3))
        images[number, kind, top:bottom, left:right] = 230
        targets.append([number, kind, x, y, w, h])
    frames = tuple(Frame(Path(f"image{number}.jpg"), (side, side)) for number in range(count))
    return Batch(torch.from_numpy(images), torch.tensor(targets, dtype=torch.float32), frames)


@pytest.fixture
def make_batch() -> MakeBatch:
    return bright_boxes


@pytest.fixture
def nano() -> Detector:
    torch.manual_seed(0)
    return build_detector(read_arch("yolov5n"), ["red", "green", "blue"])


@pytest.fixture
def make_engine(nano: Detector) -> MakeEngine:
    def make(detector: Detector | None = None, batches: int = 2, **settings: object) -> Engine:
        values = {"epochs": 4, "batch_size": 4, "precision": "fp32", "device": "cpu", **settings}
        config = parse(TrainConfig, values)
        return build_engine(detector or nano, config, image_size=SIDE, batches=batches)

    return make


@pytest.fixture
def data(tmp_path: Path, make_batch: MakeBatch) -> Path:
    """A data set of eight training and four validation pictures; returns its YAML."""
    root = tmp_path / "data"
    for split, count, seed in (("train", 8, 0), ("val", 4, 1)):
        batch = make_batch(count, seed, SIDE)
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for number, image in enumerate(batch.images):
            picture = image.permute(1, 2, 0).numpy()[..., ::-1]
            cv2.imwrite(str(root / "images" / split / f"{number}.png"), picture)
            rows = batch.targets[batch.targets[:, 0] == number, 1:].tolist()
            text = "".join(f"{int(row[0])} {' '.join(map(str, row[1:]))}\n" for row in rows)
            (root / "labels" / split / f"{number}.txt").write_text(text)
    names = "names: [red, green, blue]\n"
    yaml = root / "data.yaml"
    yaml.write_text(f"path: .\ntrain: images/train\nval: images/val\n{names}")
    return yaml


@pytest.fixture
def settings(data: Path) -> Callable[..., TrainConfig]:
    """Settings of a training of two epochs on `data`; keywords change them."""

    def make(**values: object) -> TrainConfig:
        base = {"data": data, "cfg": "yolov5n", "image_size": SIDE, "batch_size": 4, "epochs": 2}
        fixed = {"precision": "fp32", "device": "cpu", "nominal_batch": 4, "auto_anchor": False}
        return parse(TrainConfig, {**base, **fixed, **values})

    return make
