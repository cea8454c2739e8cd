"""The settings of `prunus export` and `prunus benchmark`, named as YOLOv5's users know them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from prunus.core.config import setting
from prunus.core.runs import RunSettings
from prunus.export.form import DEFAULT_OPSET, Form, Suppression

if TYPE_CHECKING:
    from prunus.core.records import Size

Side = Annotated[int, Field(ge=32)]
Threads = Annotated[int, Field(ge=1)]
OPSETS = (12, 20)
"""What torch's exporter writes and every ONNX Runtime of the last years reads."""


def _milliseconds(value: object) -> object:
    return value.removesuffix("ms").strip() if isinstance(value, str) else value


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, int) else value


COMPILED = "compiled"
"""The runtime that is torch with `torch.compile`."""


class ExportConfig(RunSettings):
    """What is written, and on what it is checked."""

    weights: Path = setting(..., "weights to export: .safetensors or official .pt")
    image_size: Annotated[tuple[Side, ...], BeforeValidator(_as_tuple)] = setting(
        (640,), "height and width, or one number for both", "--img", "--imgsz", "--img-size",
        min_length=1, max_length=2,
    )  # fmt: skip
    batch_size: int = setting(1, "images in one call", "--batch", "--batch-size", ge=1, le=1024)
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
    def size_hw(self) -> "Size":
        return self.image_size[0], self.image_size[-1]

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


class BenchmarkConfig(RunSettings):
    """What is timed, and how."""

    weights: tuple[Path, ...] = setting(
        ..., "models: .safetensors, official .pt, or exported; the first is the yardstick",
        min_length=1,
    )  # fmt: skip
    runtimes: tuple[str, ...] = setting(
        ("torch", "onnx"),
        "runtimes: torch, compiled, torchscript, onnx, openvino; weights are exported where needed",
        min_length=1,
    )
    precisions: tuple[Literal["fp32", "bf16", "fp16"], ...] = setting(
        ("fp32",), "what the runtimes that can compute in; INT8 files are models of their own",
        "--precision", min_length=1,
    )  # fmt: skip
    image_size: Annotated[tuple[Side, ...], BeforeValidator(_as_tuple)] = setting(
        (640,), "sides of the images, each a row", "--img", "--imgsz", "--img-size", min_length=1
    )
    batch_size: int = setting(1, "images in one call", "--batch", "--batch-size", ge=1, le=1024)
    threads: Annotated[tuple[Threads, ...], BeforeValidator(_as_tuple)] = setting(
        (1,), "CPU threads, each a row", min_length=1
    )
    repeats: int = setting(30, "measured rounds", ge=2)
    warmup: int = setting(5, "rounds before them", ge=0)
    device: str = setting("cpu", "cpu, or a GPU's number")
    data: Path | None = setting(
        None, "data set YAML: the mAP of every file on its validation split, in squares"
    )
    pareto: bool = setting(False, "draw accuracy over latency; needs --data")
    best_under: Annotated[float, Field(gt=0), BeforeValidator(_milliseconds)] | None = setting(
        None, "name the most accurate model within so many milliseconds, such as 10ms; needs --data"
    )
    beside: Path | None = setting(
        None, "benchmark.jsonl of an earlier run on this machine, shown beside"
    )

    @property
    def sizes_hw(self) -> "tuple[Size, ...]":
        return tuple((side, side) for side in self.image_size)

    @model_validator(mode="after")
    def _can_judge(self) -> "BenchmarkConfig":
        for flag, asked in (("--pareto", self.pareto), ("--best-under", self.best_under)):
            if asked and self.data is None:
                raise ValueError(f"{flag}: needs accuracies. Give --data.")
        return self
