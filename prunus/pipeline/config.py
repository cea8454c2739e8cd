"""The settings of the verbs that chain others: `prunus compress` and `prunus demo`."""

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from prunus.core.config import setting
from prunus.core.runs import RunSettings
from prunus.prune.config import Share


class CompressConfig(RunSettings):
    """From a checkpoint and a data set to a smaller detector, and the table that shows it."""

    data: Path = setting(..., "data set YAML")
    weights: Path | None = setting(None, "dense model to start from: .safetensors or official .pt")
    cfg: str = setting(
        "", "architecture to start from scratch with, instead of --weights: yolov5n …"
    )
    percent: Share = setting(0.5, "share of the prunable channels to remove", gt=0, lt=1)
    criterion: str = setting(
        "reconstruction",
        "how channels are ranked; see prunus prune --help. After sparsity training: bn_scale",
    )
    repair: Literal["ridge", "bn", "none"] = setting(
        "ridge", "what mends the pruned model before its fine-tune; see prunus prune --help"
    )
    scope: Literal["global", "layer"] = setting(
        "layer", "compare channels of all layers, or of each"
    )
    round_to: int = setting(16, "kept channels are a multiple of this", ge=1)
    epochs: int = setting(
        100, "epochs to adapt the dense model to the data, 0 to leave it as it is", ge=0
    )
    sparsity_epochs: int = setting(
        0, "epochs of sparsity training before the cut, as in network slimming; 0 for none", ge=0
    )
    finetune_epochs: int = setting(150, "epochs to fine-tune the pruned model, 0 for none", ge=0)
    sparsity: str = setting(
        "auto", "strength of the L1 pull on gammas: auto, or a number", "--sparsity", "--sr"
    )
    distill: bool = setting(True, "let the fine-tune imitate the dense model beside the labels")
    close_mosaic: float = setting(
        0.2, "share of each training's epochs, at its end, without mosaic", ge=0, le=1
    )
    hyp: str = setting("scratch-low", "hyperparameters: a preset's name or a YAML file")
    nominal_batch: int = setting(
        16, "images per optimizer step; small data sets need many steps", ge=1
    )
    patience: int = setting(
        0, "epochs without improvement before a training stops, 0 for never", ge=0
    )
    image_size: int = setting(640, "side of the images", "--img", "--imgsz", "--img-size", ge=32)
    batch_size: int = setting(16, "images in a batch", "--batch", "--batch-size", ge=1)
    repeats: int = setting(50, "timed runs of each model in the benchmark", ge=3)
    threads: int = setting(1, "threads of the benchmark's runtimes", ge=1)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "auto", "precision of the trainings"
    )
    device: str = setting("", "cpu, or a GPU's number; empty: a GPU if there is one")
    workers: int = setting(0, "processes that load images; 0: in this one", ge=0)
    seed: int = setting(0, "seed of everything random", ge=0)

    @model_validator(mode="after")
    def _has_one_start(self) -> "CompressConfig":
        if (self.weights is None) == (not self.cfg):
            raise ValueError("give either --weights FILE, or --cfg NAME to start from scratch.")
        return self


class DemoConfig(RunSettings):
    """The main job at small size, on a generated data set."""

    folder: Path = setting(
        Path("runs/demo-data"), "where the generated data set goes", "--data-folder"
    )
    image_size: int = setting(256, "side of the images", "--img", "--imgsz", "--img-size", ge=64)
    train_images: int = setting(240, "images to train on", ge=8)
    epochs: int = setting(40, "epochs to train from scratch", ge=1)
    sparsity_epochs: int = setting(10, "epochs of sparsity training", ge=1)
    finetune_epochs: int = setting(40, "epochs to fine-tune the pruned model", ge=1)
    percent: Share = setting(0.5, "share of the prunable channels to remove", gt=0, lt=1)
    device: str = setting("", "cpu, or a GPU's number; empty: a GPU if there is one")
    workers: int = setting(0, "processes that load images; 0: in this one", ge=0)
    seed: int = setting(0, "seed of everything random", ge=0)
