"""Fixtures that every tier shares."""

import os
from pathlib import Path

import pytest

ASSETS_VARIABLE = "PRUNUS_TEST_ASSETS"
BESIDE_THE_PROJECT = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder with `data/` and `weights/` that parity tests compare against."""
    folder = Path(os.environ.get(ASSETS_VARIABLE, BESIDE_THE_PROJECT))
    if not (folder / "weights" / "yolov5n.pt").is_file():
        pytest.skip(f"{folder} holds no test assets: set {ASSETS_VARIABLE} to the folder that does")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what tests cache out of the user's folder."""
    monkeypatch.setenv("PRUNUS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
