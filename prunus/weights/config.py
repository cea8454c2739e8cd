"""The settings of `prunus inspect`."""

from pathlib import Path

from prunus.core.config import setting
from prunus.core.runs import RunSettings
from prunus.core.shares import PatternText


class InspectConfig(RunSettings):
    """Which weights to look into, and what freezing would do."""

    weights: Path = setting(..., "weights to look into", "WEIGHTS", "--weights")
    image_size: int = setting(640, "side for the FLOPs", "--img", "--imgsz", "--img-size", ge=32)
    freeze: tuple[int | str, ...] = setting((), "mark the rows that this would freeze, as in train")
    nm: PatternText | None = setting(None, "check the weights against an N:M such as 2:4")
