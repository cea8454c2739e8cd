"""The settings of `prunus val`."""

from pathlib import Path
from typing import Literal

from pydantic import field_validator, model_validator

from prunus.core.config import setting
from prunus.core.runs import RunSettings

Split = Literal["train", "val", "test"]


class ValConfig(RunSettings):
    """What to judge, on what, and how strictly. The defaults are those of published figures."""

    weights: tuple[Path, ...] = setting(
        ...,
        "model to judge: .safetensors, official .pt or .onnx; several are judged as an ensemble",
        min_length=1,
    )
    data: Path = setting(..., "data set YAML")
    split: Split = setting("val", "which images")
    task: Literal["train", "val", "test", "speed"] | None = setting(
        None,
        "train, val, test: as --split; speed: milliseconds of each stage, on squares, at "
        "confidence .25 and overlap .45",
    )
    image_size: int = setting(640, "side of the images", "--img", "--imgsz", "--img-size", ge=32)
    batch_size: int = setting(32, "images in a batch", "--batch", "--batch-size", ge=1)
    confidence: float = setting(0.001, "lowest score that counts", "--conf-thres", ge=0, lt=1)
    iou: float = setting(0.6, "overlap at which a box is suppressed", "--iou-thres", gt=0, le=1)
    max_detections: int = setting(300, "boxes kept in an image", "--max-det", ge=1)
    single_class: bool = setting(
        False, "judge the boxes only, whatever their class", "--single-cls"
    )
    rectangular: bool = setting(True, "batches of like shapes instead of squares", "--rect")
    augment: bool = setting(
        False, "look at each image three times: full size, .83 mirrored, .67 (slow)"
    )
    sparsify: float | None = setting(
        None, "first set this share of each fused convolution's weights to zero", gt=0, lt=1
    )
    bootstrap: int = setting(
        0,
        "resamples of the images, for 95 % intervals of the mAP; 1000 is plenty",
        ge=0,
        le=100_000,
    )
    compare: Path | None = setting(
        None, "run folder of prunus val on the same images: is the difference more than noise?"
    )
    seed: int = setting(0, "of the resamples", ge=0)
    save_txt: bool = setting(False, "write the detections of each image as YOLO label rows")
    save_conf: bool = setting(False, "with the score as a sixth column of --save-txt")
    save_json: bool = setting(
        True,
        "write predictions.json, COCO's format, with the ids of a COCO JSON; --compare reads it",
    )
    plots: bool = setting(True, "draw curves.png and confusion.png")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting("auto", "precision of the network")
    device: str = setting("", "cpu, or a GPU's number; empty: a GPU if there is one")
    workers: int = setting(0, "processes that load images; 0: in this one", ge=0)

    @field_validator("weights", mode="before")
    @classmethod
    def _one_is_enough(cls, value: object) -> object:
        return (value,) if isinstance(value, str | Path) else value

    @model_validator(mode="after")
    def _task_fits(self) -> "ValConfig":
        if self.task == "speed":
            if self.bootstrap or self.compare is not None:
                raise ValueError("--task speed takes times, no mAP: no --bootstrap, no --compare.")
        elif self.task is not None and "split" in self.model_fields_set and self.split != self.task:
            raise ValueError(f"--split {self.split} and --task {self.task} differ: give one.")
        return self

    @model_validator(mode="after")
    def _score_has_its_row(self) -> "ValConfig":
        if self.save_conf and not self.save_txt:
            raise ValueError("--save-conf is a column of --save-txt: add that.")
        return self

    @property
    def images(self) -> Split:
        """The split that `split` and `task` together name."""
        return self.split if self.task is None or self.task == "speed" else self.task
