"""The settings of `prunus train`, with the names that YOLOv5's users know."""

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, model_validator

from prunus.core.config import Settings, setting
from prunus.core.errors import suggest
from prunus.core.files import read_yaml
from prunus.core.runs import RunSettings
from prunus.core.shares import PatternText, Share

PRESET_FOLDER = "hyps"
PRESET_SUFFIX = ".yaml"
DEFAULT_PRESET = "scratch-low"


class Hyperparameters(Settings):
    """What a `--hyp` file holds, under its official keys. The defaults are those of scratch-low."""

    lr0: float = setting(0.01, "learning rate after the warm-up", gt=0)
    lrf: float = setting(0.01, "share of lr0 left at the end", ge=0, le=1)
    momentum: float = setting(0.937, "SGD momentum, or Adam's first decay", ge=0, lt=1)
    weight_decay: float = setting(0.0005, "decay of convolution weights", ge=0)
    warmup_epochs: float = setting(3.0, "epochs of warm-up, 0 for none", ge=0)
    warmup_momentum: float = setting(0.8, "momentum that the warm-up starts from", ge=0, lt=1)
    warmup_bias_lr: float = setting(0.1, "bias learning rate that the warm-up starts from", ge=0)
    box: float = setting(0.05, "gain of the box loss", ge=0)
    cls: float = setting(0.5, "gain of the class loss", ge=0)
    cls_pw: float = setting(1.0, "weight of positives in the class loss", gt=0)
    obj: float = setting(1.0, "gain of the objectness loss", ge=0)
    obj_pw: float = setting(1.0, "weight of positives in the objectness loss", gt=0)
    iou_t: float = setting(0.2, "not used, accepted because official files hold it")
    anchor_t: float = setting(4.0, "factor within which an anchor takes a box", gt=1)
    fl_gamma: float = setting(0.0, "exponent of the focal loss, 0 for none", ge=0)
    hsv_h: float = setting(0.015, "change of hue, as a share", ge=0, le=1)
    hsv_s: float = setting(0.7, "change of saturation, as a share", ge=0, le=1)
    hsv_v: float = setting(0.4, "change of brightness, as a share", ge=0, le=1)
    degrees: float = setting(0.0, "rotation, in degrees either way", ge=0, le=180)
    translate: float = setting(0.1, "shift, as a share of the image", ge=0, le=1)
    scale: float = setting(0.5, "change of scale, as a share", ge=0, lt=1)
    shear: float = setting(0.0, "shear, in degrees either way", ge=0, lt=90)
    perspective: float = setting(0.0, "perspective, up to 0.001", ge=0, le=0.001)
    flipud: float = setting(0.0, "probability of an upside-down flip", ge=0, le=1)
    fliplr: float = setting(0.5, "probability of a left-right flip", ge=0, le=1)
    mosaic: float = setting(1.0, "probability of a mosaic of four images", ge=0, le=1)
    mixup: float = setting(0.0, "probability of mixing two images", ge=0, le=1)
    copy_paste: float = setting(0.0, "not used: it needs masks", ge=0, le=1)
    anchors: float | None = setting(None, "not used, accepted because official files hold it")


def preset_names() -> list[str]:
    """Return the names of the presets that ship with the package."""
    folder = resources.files("prunus.train") / PRESET_FOLDER
    names = [entry.name for entry in folder.iterdir()]
    return sorted(n.removesuffix(PRESET_SUFFIX) for n in names if n.endswith(PRESET_SUFFIX))


def read_hyperparameters(value: object) -> object:
    """Turn a preset's name or a YAML file into the values that it holds; pass anything else on.

    Raises:
        ValueError: No such preset or file.
        ConfigError: The file cannot be read.
    """
    if not isinstance(value, str | Path):
        return value
    name = str(value).removeprefix("hyp.").removesuffix(PRESET_SUFFIX)
    if name in preset_names():
        text = (
            resources.files("prunus.train") / PRESET_FOLDER / f"{name}{PRESET_SUFFIX}"
        ).read_text("utf-8")
        return yaml.safe_load(text)
    if Path(value).is_file():
        return read_yaml(Path(value))
    raise ValueError(
        f"no preset or file '{value}'.{suggest(name, preset_names())} "
        f"Give a YAML file or one of {', '.join(preset_names())}."
    )


def _maybe_none(value: object) -> object:
    return None if value in ("", "None", "none") else value


OptionalPath = Annotated[Path | None, BeforeValidator(_maybe_none)]


class TrainConfig(RunSettings):
    """How to train a detector.

    Learning rates, gains and augmentation are in `hyp`; everything else is here.
    """

    data: OptionalPath = setting(None, "data set YAML", "--data")
    weights: OptionalPath = setting(
        None, "weights to start from: .safetensors or official .pt; empty to start from scratch"
    )
    cfg: str = setting("", "architecture to start from scratch with, such as yolov5n", "--cfg")
    image_size: int = setting(640, "side of the images", "--img", "--imgsz", "--img-size", ge=32)
    batch_size: int = setting(16, "images in a batch", "--batch", "--batch-size", ge=1)
    epochs: int = setting(100, "epochs to train", ge=1)
    hyp: Annotated[Hyperparameters, BeforeValidator(read_hyperparameters)] = setting(
        DEFAULT_PRESET, "hyperparameters: a preset's name or a YAML file"
    )
    optimizer: Annotated[
        Literal["sgd", "adam", "adamw"],
        BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
    ] = setting("sgd", "optimizer")
    nominal_batch: int = setting(64, "images per optimizer step: gradients add up to it", ge=1)
    cos_lr: bool = setting(False, "let the learning rate fall along a cosine")
    freeze: tuple[int | str, ...] = setting(
        (), "rows that do not learn: N for the first N, several rows, a span as 0-9, or backbone"
    )
    sparsity: Annotated[float | Literal["auto"] | None, BeforeValidator(_maybe_none)] = setting(
        None,
        "L1 pull on batch-norm gammas for a later pruning: auto, or a strength",
        "--sparsity",
        "--sr",
    )
    weight_sparsity: Share | None = setting(
        None, "share of the weights that become zero while training; 70 is read as 0.7", gt=0, lt=1
    )
    nm: PatternText | None = setting(
        None, "N:M such as 2:4 to arrive at instead: N of every M input channels' weights stay"
    )
    weight_scope: Literal["layer", "global"] = setting(
        "layer", "reach --weight-sparsity in each layer, or in all together"
    )
    weight_schedule: Literal["cubic", "constant"] = setting(
        "cubic", "zeros grow along a cubic ramp, or are all set at once and held"
    )
    weight_begin: Share = setting(0.0, "share of the run before the first weights go", ge=0, lt=1)
    weight_end: Share = setting(0.75, "share of the run after which the ramp has ended", gt=0, le=1)
    keep_zeros: bool = setting(
        False, "hold the weights that are zero in --weights, as `sparsify` left them"
    )
    teacher: OptionalPath = setting(
        None, "dense weights whose answers are imitated beside the labels (distillation)"
    )
    label_smoothing: float = setting(0.0, "share of certainty taken from class labels", ge=0, lt=1)
    patience: int = setting(100, "epochs without improvement before stopping, 0 for never", ge=0)
    close_mosaic: int = setting(0, "epochs at the end without mosaic", ge=0)
    auto_anchor: bool = setting(True, "fit the anchors when they miss more than 2 % of the boxes")
    val_every: int = setting(1, "epochs between validations", ge=1)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting("auto", "precision of the network")
    device: str = setting("", "cpu, or a GPU's number; empty: a GPU if there is one")
    workers: int = setting(0, "processes that load images; 0: in this one", ge=0)
    seed: int = setting(0, "seed of everything random", ge=0)
    resume: OptionalPath = setting(None, "run folder whose training is to be continued")

    @model_validator(mode="after")
    def _zeros_have_one_source(self) -> "TrainConfig":
        given = [
            flag
            for flag, value in (
                ("--weight-sparsity", self.weight_sparsity),
                ("--nm", self.nm),
                ("--keep-zeros", self.keep_zeros or None),
            )
            if value is not None
        ]
        if len(given) > 1:
            raise ValueError(
                f"{' and '.join(given)} exclude each other: the first two hold the zeros that "
                "there are, and add to them. Give one."
            )
        if self.weight_schedule == "cubic" and self.weight_begin >= self.weight_end:
            raise ValueError(
                f"--weight-begin {self.weight_begin:g} must be smaller than --weight-end "
                f"{self.weight_end:g}. Both are shares of the run."
            )
        return self

    def plain(self) -> dict[str, Any]:
        """Return JSON-ready values, from which `parse` makes the same settings again."""
        return self.model_dump(mode="json")
