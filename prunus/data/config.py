"""The settings of `prunus data check` and `prunus data demo`."""

from pathlib import Path
from typing import Literal

from prunus.core.config import setting
from prunus.core.runs import RunSettings


class DataCheckConfig(RunSettings):
    """Which data set to read, and how much of it."""

    data: Path = setting(..., "data set YAML", "DATA", "--data")
    split: Literal["all", "train", "val", "test"] = setting("all", "which images")


class DataDemoConfig(RunSettings):
    """The generated data set: where, how much and how large."""

    folder: Path = setting(Path("orchard"), "where the data set goes", "FOLDER", "--folder")
    train: int = setting(240, "images to train on", ge=1)
    val: int = setting(60, "images to validate on", ge=1)
    test: int = setting(60, "images to test on", ge=0)
    image_size: int = setting(320, "side of the images", "--img", "--imgsz", "--img-size", ge=64)
    seed: int = setting(0, "another seed, other pictures", ge=0)
