"""The settings of `prunus predict`, with the names that YOLOv5's users know."""

from pathlib import Path
from typing import Literal

from prunus.core.config import setting
from prunus.core.runs import RunSettings

IMAGE_SIZE, CONFIDENCE, IOU, MAX_DETECTIONS = 640, 0.25, 0.45, 1000
"""YOLOv5's `detect.py` (spec sheet §2.7); `val` uses others."""


class PredictConfig(RunSettings):
    """What predicts, on what, and what is written."""

    weights: Path = setting(..., "weights (.safetensors, official .pt) or exported model (.onnx)")
    source: tuple[str, ...] = setting(
        ..., "images, folders, or patterns such as 'photos/*.jpg'", min_length=1
    )
    image_size: int = setting(
        IMAGE_SIZE, "long side of the images", "--img", "--imgsz", "--img-size", ge=32
    )
    confidence: float = setting(
        CONFIDENCE, "least score of a detection", "--conf-thres", "--conf", ge=0, lt=1
    )
    iou: float = setting(
        IOU, "overlap above which the weaker box goes", "--iou-thres", "--iou", ge=0, le=1
    )
    max_detections: int = setting(MAX_DETECTIONS, "most boxes in an image", "--max-det", ge=1)
    classes: tuple[int | str, ...] = setting(
        (), "only these classes, by number or name; empty for all"
    )
    agnostic: bool = setting(
        False, "boxes of different classes suppress each other", "--agnostic-nms", "--agnostic"
    )
    save_images: bool = setting(True, "write annotated images", "--save-images")
    save_txt: bool = setting(False, "write a label file an image: class cx cy w h, as shares")
    save_conf: bool = setting(False, "add the score to each line of the label files")
    line_width: int | None = setting(
        None, "width of the boxes' lines in pixels; by image size if not given",
        "--line-thickness", "--line-width", ge=1,
    )  # fmt: skip
    hide_labels: bool = setting(False, "draw boxes without names")
    hide_conf: bool = setting(False, "draw names without scores")
    device: str = setting("", "cpu, or a GPU's number; empty: a GPU if there is one")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "auto", "precision of a torch model"
    )
    threads: int | None = setting(None, "CPU threads; all if not given", ge=1)
