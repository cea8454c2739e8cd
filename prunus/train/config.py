"""The settings of `prunus train`, with the names that YOLOv5's users know."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, create_model, model_validator

from prunus.core.config import flags_of, setting
from prunus.core.runs import RunSettings
from prunus.core.shares import PatternText, Share
from prunus.train.hyperparameters import (
    DEFAULT_PRESET,
    SINGLE_VALUES,
    Hyperparameters,
    OnTop,
    preset_names,
    read_hyperparameters,
    read_recipe,
)

MEASURED_BATCH = -1
"""A batch size that stands for the largest one that fits."""

if TYPE_CHECKING:
    SingleValues = RunSettings
else:
    SingleValues = create_model(
        "SingleValues",
        __base__=RunSettings,
        **{
            name: (
                float | None,
                setting(
                    None,
                    argparse.SUPPRESS,  # the help of --hyp lists them
                    *dict.fromkeys(("--" + name.replace("_", "-"), f"--{name}", f"--hyp.{name}")),
                    exclude=True,
                ),
            )
            for name in SINGLE_VALUES
        },
    )
    """Run settings with a flag for each hyperparameter. They end up in `hyp`, and only there."""


def _listed_values() -> str:
    values = ((name, Hyperparameters.model_fields[name].default) for name in SINGLE_VALUES)
    return ", ".join(f"{name} {default:g}" for name, default in values)


def _maybe_none(value: object) -> object:
    return None if value in ("", "None", "none") else value


def _lower_or_none(value: object) -> object:
    return _maybe_none(value.lower() if isinstance(value, str) else value)


OptionalPath = Annotated[Path | None, BeforeValidator(_maybe_none)]


class TrainConfig(SingleValues):
    """How to train a detector.

    Learning rates, gains and augmentation are in `hyp`; everything else is here.
    """

    data: OptionalPath = setting(None, "data set YAML", "--data")
    weights: OptionalPath = setting(
        None, "weights to start from: .safetensors or official .pt; empty to start from scratch"
    )
    cfg: str = setting("", "architecture to start from scratch with, such as yolov5n", "--cfg")
    fresh: bool = setting(
        False, "take only the shape of --weights, such as a pruned one, and begin from scratch"
    )
    image_size: int = setting(640, "side of the images", "--img", "--imgsz", "--img-size", ge=32)
    batch_size: int = setting(
        16,
        "images in a batch; -1: as many as fit the memory, measured",
        "--batch",
        "--batch-size",
        ge=MEASURED_BATCH,
    )
    activation: Annotated[
        Literal["silu", "relu", "hardswish", "leaky_relu"] | None, BeforeValidator(_lower_or_none)
    ] = setting(
        None,
        "what every convolution block ends in from the first step on: silu, relu, hardswish or "
        "leaky_relu; without it, as the weights say",
    )
    epochs: int = setting(100, "epochs to train", ge=1)
    hyp: Annotated[Hyperparameters, BeforeValidator(read_hyperparameters)] = setting(
        DEFAULT_PRESET,
        f"hyperparameters: {', '.join(preset_names())}, or a YAML file. Each value has a flag of "
        f"its own that goes before it, as in --hyp voc --lr0 0.001. Those of {DEFAULT_PRESET}: "
        f"{_listed_values()}",
    )
    optimizer: Annotated[
        Literal["sgd", "adam", "adamw"],
        BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
    ] = setting("sgd", "optimizer")
    nominal_batch: int = setting(64, "images per optimizer step: gradients add up to it", ge=1)
    cos_lr: bool = setting(False, "let the learning rate fall along a cosine")
    freeze: tuple[int | str, ...] = setting(
        (),
        "rows that do not learn: N for the first N, several rows, a span as 0-9, backbone, neck",
    )
    sparsity: Annotated[float | Literal["auto"] | None, BeforeValidator(_maybe_none)] = setting(
        None,
        "L1 pull on batch-norm gammas for a later pruning: auto, or a strength",
        "--sparsity",
        "--sr",
    )
    regulariser: str = setting(
        "l1", "how gammas are pulled on: l1, group (what is coupled goes together) or polarization"
    )
    beta_sparsity: float = setting(
        0.0,
        "pull on betas, in pulls on gammas (classic scripts: 10); betas of channels whose gamma is "
        "zero are pulled to zero in any case",
        ge=0,
    )
    mask_eval: int = setting(
        0, "epochs between validations of what a 30, 50 and 70 % cut would leave, 0 for none", ge=0
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
    teacher_features: float = setting(
        0.0, "gain of the imitation of the teacher's feature maps, 0 for none", ge=0
    )
    quantization_aware: bool = setting(
        False, "compute as in INT8 while training, for weights that bear `prunus quantize` better"
    )
    label_smoothing: float = setting(0.0, "share of certainty taken from class labels", ge=0, lt=1)
    patience: int = setting(100, "epochs without improvement before stopping, 0 for never", ge=0)
    close_mosaic: float = setting(
        0, "epochs at the end without mosaic; below 1: that share of the epochs", ge=0
    )
    image_weights: bool = setting(
        False, "draw images by how badly their classes are found so far, and how rare they are"
    )
    repeat_factor: float | None = setting(
        None, "repeat images of classes that fewer than this share of the images show", gt=0, lt=1
    )
    multi_scale: bool = setting(False, "vary the size of each batch between 0.5 and 1.5 of --img")
    rect: bool = setting(False, "train on rectangles: images of like shape together, no mosaic")
    single_cls: bool = setting(False, "take all classes for one")
    cache: Literal["ram", "disk", "none"] = setting(
        "ram", "where decoded images are kept, as many as --cache-gb holds", bare="ram"
    )
    cache_gb: float = setting(1.0, "gigabytes of decoded images to keep at most", ge=0)
    cache_dir: OptionalPath = setting(
        None, "folder of --cache disk; empty: prunus in the user's cache folder"
    )
    save_period: int = setting(
        0, "epochs between weights that are kept as epochN.safetensors, 0 for none", ge=0
    )
    save_minutes: float = setting(
        10.0, "minutes between saves of the state within an epoch, 0 for none", ge=0
    )
    auto_anchor: bool = setting(True, "fit the anchors when they miss more than 2 % of the boxes")
    val_every: int = setting(1, "epochs between validations", ge=1)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting("auto", "precision of the network")
    loggers: tuple[str, ...] = setting(
        (), "trackers beside TensorBoard: mlflow, wandb, trackio; each is an extra"
    )
    plots: bool = setting(True, "draw batches, labels and curves")
    device: str = setting("", "cpu, or a GPU's number; empty: a GPU if there is one")
    workers: int = setting(0, "processes that load images; 0: in this one", ge=0)
    seed: int = setting(0, "seed of everything random", ge=0)
    dry_run: bool = setting(
        False, "show what would be frozen, the schedule, time and memory of a step; no training"
    )
    resume: OptionalPath = setting(
        None,
        "go on with the training in this run folder; without one, with the newest in --project",
        bare="auto",
    )

    @model_validator(mode="before")
    @classmethod
    def _gather_hyperparameters(cls, values: object) -> object:
        """Put single values on top of `hyp`, and what its file says of a training below flags."""
        if not isinstance(values, Mapping):
            return values
        single = {name: values[name] for name in SINGLE_VALUES if values.get(name) is not None}
        hyp = values.get("hyp", DEFAULT_PRESET)
        rest = {name: value for name, value in values.items() if name not in SINGLE_VALUES}
        return {**read_recipe(hyp), **rest, "hyp": OnTop(hyp, single) if single else hyp}

    @model_validator(mode="after")
    def _images_come_in_one_order(self) -> "TrainConfig":
        orders = {
            "--image-weights": self.image_weights,
            "--repeat-factor": self.repeat_factor is not None,
            "--rect": self.rect,
        }
        given = [flag for flag, value in orders.items() if value]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other. Give one.")
        if self.rect and self.multi_scale:
            raise ValueError("--rect and --multi-scale exclude each other. Give one.")
        if self.batch_size == 0:
            raise ValueError("--batch 0: give 1 or more, or -1 to have it measured.")
        return self

    @model_validator(mode="after")
    def _pulls_have_a_strength(self) -> "TrainConfig":
        fields = type(self).model_fields
        idle = [
            flags_of(name, fields[name])[0]
            for name in ("mask_eval", "regulariser", "beta_sparsity")
            if getattr(self, name) != fields[name].default
        ]
        if idle and self.sparsity is None:
            raise ValueError(
                f"{' and '.join(idle)}: nothing is pulled on without --sparsity. Add --sparsity "
                "auto, or leave it out."
            )
        return self

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

    @property
    def closed_epochs(self) -> int:
        """Return the epochs at the end that have no mosaic."""
        share = self.close_mosaic
        return round(share * self.epochs) if share < 1 else int(share)

    def plain(self) -> dict[str, Any]:
        """Return JSON-ready values, from which `parse` makes the same settings again."""
        return self.model_dump(mode="json")
