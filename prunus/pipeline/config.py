"""The settings of the verbs that chain others: `run` and `demo`; and of `activation`."""

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from prunus.core.config import setting
from prunus.core.runs import RunSettings
from prunus.pipeline.chain.reopen import ChainSettings


class RecipeConfig(ChainSettings):
    """A chain of verbs from a YAML (`prunus.pipeline.chain.recipe` says how it is written)."""

    recipe: Path | None = setting(None, "YAML with the stages", "RECIPE", "--recipe")
    dry_run: bool = setting(False, "check the recipe and show its stages; run nothing")

    @model_validator(mode="after")
    def _has_a_recipe(self) -> "RecipeConfig":
        if self.recipe is None and (self.resume is None or self.dry_run):
            raise ValueError("RECIPE: is needed. Give the YAML with the stages.")
        return self


class ActivationConfig(RunSettings):
    """Another activation for every block; the weights stay, so it has to be trained afterwards."""

    weights: Path = setting(..., "weights whose activations change: .safetensors or official .pt")
    to: Literal["silu", "relu", "hardswish"] = setting("relu", "the activation that they get")


class DemoConfig(RunSettings):
    """The main job at small size, on a generated data set."""

    folder: Path = setting(
        Path("runs/demo-data"), "where the generated data set goes", "--data-folder"
    )
    image_size: int = setting(224, "side of the images", "--img", "--imgsz", "--img-size", ge=64)
    train_images: int = setting(200, "images to train on", ge=8)
    adapt_epochs: int = setting(30, "epochs to train from scratch", ge=1)
    finetune_epochs: int = setting(
        30, "epochs to fine-tune the pruned model, and to train the dense one on", ge=1
    )
    speedup: float = setting(
        2.0, "target: so many times as fast as the dense model in ONNX Runtime", gt=1
    )
    device: str = setting("", "cpu, or a GPU's number; empty: a GPU if there is one")
    workers: int = setting(0, "processes that load images; 0: in this one", ge=0)
    seed: int = setting(0, "seed of everything random", ge=0)
