"""The settings of `prunus prune`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from prunus.core.config import setting
from prunus.core.runs import RunSettings


def _as_share(value: object) -> object:
    """Read 50 as .5: people say per cent."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value
    return number / 100 if 1 < number < 100 else number


Share = Annotated[float, BeforeValidator(_as_share)]
Row = Annotated[int, Field(ge=0)]


class PruneConfig(RunSettings):
    """What to remove, and how it is judged."""

    weights: Path = setting(..., "model to prune: .safetensors or official .pt")
    data: Path | None = setting(
        None, "data set YAML: re-estimates batch norm on train, judges before and after on val"
    )
    percent: Share = setting(
        0.5, "share of the prunable channels to remove; 50 is read as 0.5", gt=0, lt=1
    )
    criterion: str = setting("bn_scale", "how channels are ranked: bn_scale, l1 or l2")
    scope: Literal["global", "layer"] = setting(
        "global", "compare channels of all layers, or of each"
    )
    round_to: int = setting(8, "kept channels are a multiple of this", ge=1)
    min_channels: int = setting(8, "no layer keeps fewer channels than this", ge=1)
    keep: tuple[Row, ...] = setting((), "rows of the model whose channels all stay")
    calibration_images: int = setting(
        256, "training images to re-estimate batch norm on, 0 for none", "--calibration", ge=0
    )
    latency: bool = setting(True, "measure milliseconds before and after")
    image_size: int = setting(640, "side of the images", "--img", "--imgsz", "--img-size", ge=32)
    batch_size: int = setting(32, "images in a batch", "--batch", "--batch-size", ge=1)
    workers: int = setting(0, "processes that load images; 0: in this one", ge=0)
    device: str = setting("", "cpu, or a GPU's number; empty: a GPU if there is one")
