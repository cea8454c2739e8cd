"""The settings of `prunus val`."""

from pathlib import Path
from typing import Literal

from prunus.core.config import setting
from prunus.core.runs import RunSettings


class ValConfig(RunSettings):
    """What to judge, on what, and how strictly. The defaults are those of published figures."""

    weights: Path = setting(..., "model to judge: .safetensors, official .pt or .onnx")
    data: Path = setting(..., "data set YAML")
    split: Literal["train", "val", "test"] = setting("val", "which images", "--split", "--task")
    image_size: int = setting(640, "side of the images", "--img", "--imgsz", "--img-size", ge=32)
    batch_size: int = setting(32, "images in a batch", "--batch", "--batch-size", ge=1)
    confidence: float = setting(0.001, "lowest score that counts", "--conf-thres", ge=0, lt=1)
    iou: float = setting(0.6, "overlap at which a box is suppressed", "--iou-thres", gt=0, le=1)
    max_detections: int = setting(300, "boxes kept in an image", "--max-det", ge=1)
    single_class: bool = setting(
        False, "judge the boxes only, whatever their class", "--single-cls"
    )
    rectangular: bool = setting(True, "batches of like shapes instead of squares", "--rect")
    sparsify: float | None = setting(
        None, "first set this share of each fused convolution's weights to zero", gt=0, lt=1
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting("auto", "precision of the network")
    device: str = setting("", "cpu, or a GPU's number; empty: a GPU if there is one")
    workers: int = setting(0, "processes that load images; 0: in this one", ge=0)
