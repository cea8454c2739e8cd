"""Small data sets, written for one test."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

Writer = Callable[..., Path]


@pytest.fixture
def yolo_set(tmp_path: Path) -> Writer:
    """Write a YOLO data set, `yolo_set({"a": "0 .5 .5 .2 .2", "b": None})`, and return its YAML.

    A text of None writes no label file. Further keywords go into the YAML.
    """

    def write(
        labels: Mapping[str, str | None],
        names: tuple[str, ...] = ("ripe", "green", "leaf"),
        size_hw: tuple[int, int] = (48, 64),
        **keys: object,
    ) -> Path:
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "labels").mkdir(exist_ok=True)
        for number, (stem, text) in enumerate(labels.items()):
            pixels = np.random.default_rng(number).integers(0, 255, (*size_hw, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / f"{stem}.png")
            if text is not None:
                (tmp_path / "labels" / f"{stem}.txt").write_text(text, encoding="utf-8")
        content = {"train": "images", "val": "images", "names": list(names), **keys}
        file = tmp_path / "data.yaml"
        file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        return file

    return write


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep every index that a test caches in a folder of its own."""
    folder = tmp_path / "user-cache"
    monkeypatch.setenv("PRUNUS_CACHE", str(folder))
    return folder
