"""The settings of `prunus export` and `prunus benchmark`, named as YOLOv5's users know them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from prunus.core.config import setting
from prunus.core.runs import RunSettings
from prunus.export.form import DEFAULT_OPSET, Form, Suppression

Side = Annotated[int, Field(ge=32)]
OPSETS = (12, 20)
"""What torch's exporter writes and every ONNX Runtime of the last years reads."""


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, int) else value


class _Sized(RunSettings):
    """What both verbs share: the size of what is run."""

    image_size: Annotated[tuple[Side, ...], BeforeValidator(_as_tuple)] = setting(
        (640,), "height and width, or one number for both", "--img", "--imgsz", "--img-size",
        min_length=1, max_length=2,
    )  # fmt: skip
    batch_size: int = setting(1, "images in one call", "--batch", "--batch-size", ge=1, le=1024)

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.image_size[0], self.image_size[-1]


class ExportConfig(_Sized):
    """What is written, and on what it is checked."""

    weights: Path = setting(..., "weights to export: .safetensors or official .pt")
    formats: tuple[str, ...] = setting(
        ("onnx",), "formats to write", "--include", "--format", min_length=1
    )
    dynamic: bool = setting(False, "any batch and any size, instead of --batch and --img")
    opset: int = setting(DEFAULT_OPSET, "ONNX operator set", ge=OPSETS[0], le=OPSETS[1])
    half: bool = setting(False, "store the weights in half precision: half of the file")
    nms: bool = setting(False, "ONNX: put out boxes too, suppressed inside the file")
    confidence: float = setting(
        0.25, "with --nms: least score of a box", "--conf-thres", "--conf", ge=0, lt=1
    )
    iou: float = setting(
        0.45, "with --nms: overlap above which the weaker box goes", "--iou-thres", "--iou",
        ge=0, le=1,
    )  # fmt: skip
    max_detections: int = setting(300, "with --nms: most boxes of an image", "--max-det", ge=1)
    data: Path | None = setting(
        None, "data set on whose validation images the file is checked; generated ones if not given"
    )
    check_images: int = setting(
        8, "images on which the file must compute what torch does", ge=1, le=1000
    )

    @property
    def form(self) -> Form:
        suppression = Suppression(self.confidence, self.iou, self.max_detections)
        return Form(
            self.size_hw,
            self.batch_size,
            self.dynamic,
            self.opset,
            self.half,
            suppression if self.nms else None,
        )


class BenchmarkConfig(_Sized):
    """What is timed, and how."""

    weights: tuple[Path, ...] = setting(
        ..., "models: .safetensors, official .pt, or exported; the first is the yardstick",
        min_length=1,
    )  # fmt: skip
    runtimes: tuple[str, ...] = setting(
        ("torch", "onnx"), "runtimes; weights are exported for them where needed", min_length=1
    )
    precisions: tuple[Literal["auto", "fp32", "bf16", "fp16"], ...] = setting(
        ("fp32",), "precisions of torch; a file has its own", "--precision", min_length=1
    )
    threads: int = setting(1, "CPU threads", ge=1)
    repeats: int = setting(30, "measured rounds", ge=2)
    warmup: int = setting(5, "rounds before them", ge=0)
    device: str = setting("cpu", "cpu, or a GPU's number")
