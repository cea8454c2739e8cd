"""The settings of `prunus quantize`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from prunus.core.config import setting
from prunus.core.runs import RunSettings
from prunus.export.config import OPSETS
from prunus.export.form import DEFAULT_OPSET


class QuantizeConfig(RunSettings):
    """What is quantized, on which images, and how good it must stay."""

    weights: Path = setting(..., "weights to quantize: .safetensors or official .pt")
    data: Path = setting(..., "data set: calibrated on its training images, judged on the others")
    format: str = setting("onnx", "file to write: onnx or openvino", "--format", "--include")
    image_size: int = setting(640, "side in pixels", "--img", "--imgsz", "--img-size", ge=32)
    batch_size: int = setting(1, "images in one call", "--batch", "--batch-size", ge=1, le=1024)
    dynamic: bool = setting(False, "any batch and any size, instead of --batch and --img")
    opset: int = setting(DEFAULT_OPSET, "ONNX operator set", ge=13, le=OPSETS[1])
    max_drop: float = setting(
        0.01, "mAP50-95 that may be lost; layers go back to float until it is kept", ge=0, le=1
    )
    calibration_images: int = setting(
        128, "training images that the ranges are measured on", "--calibration-images",
        "--calibration", ge=1,
    )  # fmt: skip
    judge_images: int = setting(
        128, "other training images, with labels, that the search for layers is judged on", ge=1
    )
    max_trials: int = setting(8, "most models that the search judges", ge=1)
    fine_tune_epochs: int = setting(
        0,
        "where --max-drop is not kept, in the search or on the validation split: epochs of "
        "training that feels INT8, the model as it was for a teacher; then it is quantized again",
        ge=0,
    )
    method: str = setting(
        "auto", "ONNX: how ranges are chosen: auto, minmax, percentile, entropy or mse"
    )
    floating: tuple[Annotated[str, Field(min_length=1)], ...] = setting(
        (), "rows or layers that stay in float, such as 0 or '*/cv3/*'", "--float"
    )
    workers: int = setting(0, "processes that decode images ahead", ge=0)
