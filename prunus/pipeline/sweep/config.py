"""The settings of `prunus sweep`."""

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from prunus.core.config import setting
from prunus.core.runs import RunSettings
from prunus.pipeline.sweep.numbers import Numbers, Words

BUDGETS = ("flops", "params", "percent", "speedup")
"""The axes of which there is one, as `PruneConfig` calls them."""
HOW = ("project", "name", "exist_ok", "out", "resume", "workers", "ray", "retry_failed", "price")
"""Settings that no result depends on: they may differ when a sweep is resumed."""
HOW_LONG = ("trials",)
"""Settings that may grow when a sweep is resumed."""


class SweepConfig(RunSettings):
    """What is varied, how a trial is judged, and who computes."""

    weights: Path | None = setting(
        None, "model to prune: .safetensors or official .pt; needed but with --resume"
    )
    data: Path | None = setting(
        None,
        "data set YAML: calibrates on train, judges on val; needed but with --resume",
    )
    criterion: Words = setting(
        ("auto",), "axis: criteria, a comma between; see prunus prune --help", min_length=1
    )
    flops: Numbers = setting(
        (), "axis: shares of the FLOPs to keep: 0.5,0.7 or first:last:step as 0.3:0.9:0.1"
    )
    params: Numbers = setting((), "axis, instead: shares of the parameters to keep")
    percent: Numbers = setting((), "axis, instead: shares of the prunable channels to remove")
    speedup: Numbers = setting((), "axis, instead: how many times as fast it is to be")
    repair: Words = setting(("ridge",), "axis: ridge, bn, none", min_length=1)
    scope: Words = setting(("global",), "axis: global, layer", min_length=1)
    round_to: Words = setting(
        ("auto",), "axis: kept channels are a multiple of this, or auto", min_length=1
    )
    seeds: int = setting(1, "axis: this many seeds, from --seed on", ge=1)
    seed: int = setting(0, "the first seed; with --trials the search's too", ge=0)
    trials: int | None = setting(
        None,
        "search instead of the grid: so many trials, chosen by Optuna for a better front; the "
        "budget lies anywhere between the least and the greatest given",
        ge=1,
    )
    finetune_epochs: int = setting(
        0, "epochs to fine-tune each pruned model, with the dense one as teacher", ge=0
    )
    hyp: str = setting("scratch-low", "hyperparameters of that: a preset's name or a YAML file")
    nominal_batch: int = setting(16, "images per optimizer step of that", ge=1)
    runtime: Literal["onnx", "openvino", "torch"] | None = setting(
        None,
        "time each trial beside the dense model in this runtime; the front is then accuracy over "
        "time; --speedup alone means onnx",
    )
    threads: int = setting(1, "threads of that runtime", ge=1)
    calibration_images: int = setting(
        128, "training images to calibrate and repair on", "--calibration", ge=0
    )
    image_size: int = setting(640, "side of the images", "--img", "--imgsz", "--img-size", ge=32)
    batch_size: int = setting(16, "images in a batch", "--batch", "--batch-size", ge=1)
    device: str = setting("cpu", "cpu, or a GPU's number, which all workers share")
    workers: int | None = setting(
        None, "trials at a time, each with one thread; default: one a core", ge=1
    )
    ray: str | None = setting(
        None, "address of a Ray cluster that computes, or local to start one here", bare="auto"
    )
    price: float | None = setting(None, "of a core for an hour, for the forecast", ge=0)
    dry_run: bool = setting(False, "print the number of trials and what they will cost; run none")
    retry_failed: bool = setting(False, "with --resume: try those that failed once more")
    resume: Path | None = setting(
        None, "go on with the sweep in this run folder; finished trials are not run again"
    )

    @model_validator(mode="after")
    def _is_whole(self) -> "SweepConfig":
        if self.resume is not None:
            return self
        if self.weights is None or self.data is None:
            raise ValueError("give --weights and --data, or --resume RUN.")
        given = [f"--{name}" for name in BUDGETS if getattr(self, name)]
        if len(given) != 1:
            what = " and ".join(given) or "none"
            raise ValueError(
                f"give one budget axis, not {what}: --flops, --params, --percent or --speedup."
            )
        return self

    @model_validator(mode="after")
    def _can_search(self) -> "SweepConfig":
        if self.trials is None or self.resume is not None:
            return self
        if self.seeds > 1:
            raise ValueError("--seeds: is an axis of the grid. Leave it out with --trials.")
        if len(set(self.amounts)) < 2:
            raise ValueError(
                f"--trials: searches between two values of --{self.budget}. Give both ends, such "
                f"as --{self.budget} 0.3,0.9."
            )
        return self

    @model_validator(mode="after")
    def _ray_computes_on_cores(self) -> "SweepConfig":
        if self.ray is not None and self.device != "cpu":
            raise ValueError(f"--device {self.device}: trials on a Ray cluster run on its cores.")
        return self

    @property
    def budget(self) -> str:
        """The budget that is varied."""
        return next(name for name in BUDGETS if getattr(self, name))

    @property
    def amounts(self) -> tuple[float, ...]:
        """Its values."""
        values: tuple[float, ...] = getattr(self, self.budget)
        return values

    @property
    def timed_in(self) -> str | None:
        """The runtime that each trial is timed in, if it is."""
        return self.runtime or ("onnx" if self.speedup else None)
