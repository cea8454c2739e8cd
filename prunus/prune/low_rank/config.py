"""The settings of `prunus factorize`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from prunus.core.config import setting
from prunus.core.runs import RunSettings
from prunus.core.shares import Share

DEFAULT_ENERGY = 0.95


class FactorizeConfig(RunSettings):
    """Which convolutions become two, with how many channels in between, and how it is judged."""

    weights: Path = setting(..., "model to factorise: .safetensors or official .pt")
    data: Path | None = setting(
        None,
        "data set YAML: keeps what layers put out on train, instead of their weights; judges "
        "before and after on val",
    )
    rank: Share | None = setting(
        None, "share of each layer's full rank to keep; 50 is read as 0.5", gt=0, lt=1
    )
    energy: Share | None = setting(
        None,
        "share to keep of what each layer puts out, or of its squared weights without --data "
        f"(default: {DEFAULT_ENERGY}, without --rank and --flops)",
        gt=0,
        lt=1,
    )
    flops: Share | None = setting(
        None, "share of the model's FLOPs to keep; ranks lie where least is lost", gt=0, lt=1
    )
    widest: int = setting(0, "only so many layers, those of the most weights; 0 for all", ge=0)
    rows: tuple[Annotated[int, Field(ge=0)], ...] = setting((), "only layers of these rows")
    round_to: int = setting(8, "channels in between are a multiple of this", ge=1)
    calibration_images: int = setting(128, "training images to look at", "--calibration", ge=1)
    latency: bool = setting(True, "measure milliseconds before and after")
    image_size: int = setting(640, "side of the images", "--img", "--imgsz", "--img-size", ge=32)
    batch_size: int = setting(16, "images in a batch", "--batch", "--batch-size", ge=1)
    workers: int = setting(0, "processes that load images; 0: in this one", ge=0)
    device: str = setting("", "cpu, or a GPU's number; empty: a GPU if there is one")

    @model_validator(mode="after")
    def _has_one_goal(self) -> "FactorizeConfig":
        given = [f"--{name}" for name in ("rank", "energy", "flops") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"give one goal, not {' and '.join(given)}.")
        return self

    @property
    def kept_energy(self) -> float | None:
        """Return the energy to keep; None where another goal is given."""
        return DEFAULT_ENERGY if not (self.rank or self.energy or self.flops) else self.energy
