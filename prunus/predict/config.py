"""The settings of `prunus predict`, with the names that YOLOv5's users know."""

from pathlib import Path
from typing import Literal

from pydantic import field_serializer

from prunus.core.config import setting
from prunus.core.runs import RunSettings
from prunus.predict.address import without_secrets

IMAGE_SIZE, CONFIDENCE, IOU, MAX_DETECTIONS = 640, 0.25, 0.45, 1000
"""YOLOv5's `detect.py` (spec sheet §2.7); `val` uses others."""
TILE_OVERLAP = 0.2


class PredictConfig(RunSettings):
    """What predicts, on what, and what is written."""

    weights: Path = setting(..., "weights (.safetensors, official .pt) or exported model (.onnx)")
    source: tuple[str, ...] = setting(
        ...,
        "images, videos, folders, patterns such as 'photos/*.jpg'; or a camera's number, "
        "an rtsp:// address, or - for a list on standard input",
        min_length=1,
    )
    vid_stride: int = setting(1, "of videos and streams, look at every so many-th frame", ge=1)
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
    augment: bool = setting(
        False, "look three times, at three sizes, once mirrored: slower, finds more"
    )
    tile: int | None = setting(
        None, "look at larger images also in tiles of this side in pixels, as sharp as they are",
        ge=32,
    )  # fmt: skip
    tile_overlap: float = setting(
        TILE_OVERLAP, "least share of a tile that the next one shows again", ge=0, lt=1
    )
    save_images: bool = setting(True, "write annotated images and videos", "--save-images")
    save_txt: bool = setting(
        False, "write a label file an image: class cx cy w h, as shares; "
        "of a video, one file whose lines begin with frame and seconds",
    )  # fmt: skip
    save_conf: bool = setting(False, "add the score to each line of the label files")
    save_csv: bool = setting(False, "write predictions.csv, a line a box")
    save_crops: bool = setting(
        False, "write each box as a picture, in a folder a class", "--save-crop", "--save-crops"
    )
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

    @field_serializer("source")
    def _told(self, source: tuple[str, ...]) -> tuple[str, ...]:
        """Keep passwords out of the run's settings and report."""
        return tuple(map(without_secrets, source))
