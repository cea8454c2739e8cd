"""The settings of `prunus sensitivity`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from prunus.core.config import setting
from prunus.core.runs import RunSettings
from prunus.core.shares import Share

GRID = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875)
Ratio = Annotated[Share, Field(gt=0, lt=1)]


class SensitivityConfig(RunSettings):
    """What is removed how far, and who judges it."""

    weights: Path | None = setting(None, "model to measure: .safetensors or official .pt")
    data: Path | None = setting(
        None, "data set YAML: its val split judges; its train split calibrates"
    )
    quick: bool = setting(
        False, "judge by the error of the raw outputs on training images, without labels"
    )
    criterion: str = setting("l2", "how channels are ranked: those of `prunus prune`")
    ratios: tuple[Ratio, ...] = setting(
        GRID, "shares of each group's channels to remove; 50 is read as 0.5", min_length=1
    )
    max_drop: Share = setting(
        0.03,
        "share of the dense score that may be lost before the cliff; 3 is read as 0.03",
        gt=0,
        lt=1,
    )
    floor: Share = setting(
        0.01,
        "share of the dense score below which a group's higher ratios are filled in",
        ge=0,
        lt=1,
    )
    images: int = setting(128, "validation images to judge on, 0 for all", ge=0)
    calibration_images: int = setting(
        32,
        "training images for --quick, and for criteria that look at images",
        "--calibration",
        ge=1,
    )
    image_size: int = setting(640, "side of the images", "--img", "--imgsz", "--img-size", ge=32)
    batch_size: int = setting(16, "images in a batch", "--batch", "--batch-size", ge=1)
    seed: int = setting(0, "seed of --criterion random", ge=0)
    workers: int = setting(0, "processes that load images; 0: in this one", ge=0)
    device: str = setting("", "cpu, or a GPU's number; empty: a GPU if there is one")
    resume: Path | None = setting(None, "run folder whose measurement is to be continued")

    @model_validator(mode="after")
    def _has_a_start(self) -> "SensitivityConfig":
        if self.resume is None and (self.weights is None or self.data is None):
            raise ValueError(
                "give --weights FILE and --data FILE, or --resume FOLDER of a stopped run."
            )
        return self
