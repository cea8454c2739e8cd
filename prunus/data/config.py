"""The settings of `prunus data check`, `prunus data convert` and `prunus data demo`."""

from pathlib import Path
from typing import Literal

from prunus.core.config import setting
from prunus.core.runs import RunSettings


class DataCheckConfig(RunSettings):
    """Which data set to read, how much of it, and how many faults are too many."""

    data: Path = setting(..., "data set YAML", "DATA", "--data")
    split: Literal["all", "train", "val", "test"] = setting("all", "which images")
    image_size: int = setting(
        640, "image size that boxes and anchors are judged at", "--img", "--imgsz", "--img-size",
        ge=32,
    )  # fmt: skip
    weights: Path | None = setting(None, "judge this model's anchors instead of YOLOv5's own")
    max_problems: float = setting(
        0.05, "share of boxes or of images with a fault above which the exit status is 1", ge=0,
        le=1,
    )  # fmt: skip
    fast: bool = setting(False, "do not read pixels: no search for damage and duplicates")


class DataConvertConfig(RunSettings):
    """Which data set to write anew, and how."""

    data: Path = setting(..., "data set YAML", "DATA", "--data")
    to: Literal["yolo", "coco", "voc"] = setting(..., "format to write")
    copy_images: bool = setting(
        True, "copy the images; --no-copy links to them, which breaks when they move", "--copy"
    )


class DataDemoConfig(RunSettings):
    """The generated data set: where, how much and how large."""

    folder: Path = setting(Path("orchard"), "where the data set goes", "FOLDER", "--folder")
    train: int = setting(240, "images to train on", ge=1)
    val: int = setting(60, "images to validate on", ge=1)
    test: int = setting(60, "images to test on", ge=0)
    image_size: int = setting(320, "side of the images", "--img", "--imgsz", "--img-size", ge=64)
    seed: int = setting(0, "another seed, other pictures", ge=0)
