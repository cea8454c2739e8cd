"""The settings of `prunus prune`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from prunus.core.config import flags_of, setting
from prunus.core.runs import RunSettings
from prunus.core.shares import Share as Share

Row = Annotated[int, Field(ge=0)]

BUDGETS = ("percent", "params", "flops", "latency_ms", "speedup")
DECIDED_BY_A_PLAN = (
    *BUDGETS,
    "criterion",
    "scope",
    "sensitivity",
    "round_to",
    "min_channels",
    "max_layer_percent",
    "keep",
    "remove_blocks",
    "carriers",
    "dry_run",
)


def check_runtime_precision(runtime: str, precision: str) -> None:
    """Check that a runtime computes in a precision.

    Raises:
        ValueError: It does not.
    """
    if precision == "bf16" and runtime == "onnx":
        raise ValueError(
            "--runtime-precision bf16: ONNX Runtime computes in float32 on a CPU. Take "
            "--runtime openvino."
        )


class PruneConfig(RunSettings):
    """What to remove, and how it is judged."""

    weights: Path = setting(..., "model to prune: .safetensors or official .pt")
    data: Path | None = setting(
        None, "data set YAML: calibrates and repairs on train, judges before and after on val"
    )
    plan: Path | None = setting(
        None,
        "plan.json of an earlier pruning, to make the same cut on other weights of the same "
        "architecture, such as those of an early epoch; repaired only if --repair is given",
    )
    percent: Share | None = setting(
        None,
        "share of the prunable channels to remove; 50 is read as 0.5; without any budget, half",
        gt=0,
        lt=1,
    )
    params: Share | None = setting(None, "share of the parameters to keep", gt=0, lt=1)
    flops: Share | None = setting(None, "share of the FLOPs to keep", gt=0, lt=1)
    latency_ms: float | None = setting(None, "milliseconds of an image, at most", gt=0)
    speedup: float | None = setting(None, "how many times as fast it is to be", gt=1)
    runtime: Literal["onnx", "openvino", "torch"] = setting(
        "onnx", "runtime that --latency-ms and --speedup are measured in"
    )
    runtime_precision: Literal["fp32", "bf16"] = setting("fp32", "what that runtime computes in")
    threads: int = setting(1, "threads of that runtime", ge=1)
    criterion: str = setting(
        "auto",
        "how channels are ranked: auto (reconstruction with --data, else l2), activation, "
        "bn_scale, bn_scale_layer, bn_scale_next, fpgm, group_l2, l1, l2, lamp, random, "
        "reconstruction, taylor",
    )
    scope: Literal["global", "layer"] = setting(
        "global", "compare channels of all layers, or take the same share of each"
    )
    sensitivity: Path | None = setting(
        None, "sensitivity.jsonl of `prunus sensitivity`: decides how much each layer loses"
    )
    round_to: int | Literal["auto"] = setting(
        "auto",
        "kept channels are a multiple of this; auto: 8, or under a latency budget the widths at "
        "which the runtime is efficient",
    )
    min_channels: int = setting(8, "no layer keeps fewer channels than this", ge=1)
    max_layer_percent: Share | None = setting(
        None, "no layer loses more than this share of its channels", gt=0, lt=1
    )
    keep: tuple[Row, ...] = setting((), "rows of the model whose channels all stay")
    remove_blocks: Annotated[int, Field(ge=0)] | Literal["auto"] = setting(
        0,
        "first take out this many whole blocks, those that lose least for what they save; auto: as "
        "many as leave a better network at the same budget; needs --data",
    )
    repair: Literal["ridge", "bn", "none"] = setting(
        "ridge",
        "with --data: ridge solves layers anew, bn re-estimates batch norm, none does neither; "
        "kept where it helps on training images that were held out",
    )
    carriers: bool = setting(
        False,
        "let one channel of a group carry the constants of removed ones across padded borders; "
        "for models trained with --sparsity",
    )
    calibration_images: int = setting(
        128, "training images to calibrate and repair on, 0 for none", "--calibration", ge=0
    )
    dry_run: bool = setting(
        False, "print what would be removed, and what is predicted; cut nothing"
    )
    latency: bool = setting(True, "measure milliseconds before and after")
    image_size: int = setting(640, "side of the images", "--img", "--imgsz", "--img-size", ge=32)
    batch_size: int = setting(16, "images in a batch", "--batch", "--batch-size", ge=1)
    workers: int = setting(0, "processes that load images; 0: in this one", ge=0)
    device: str = setting("", "cpu, or a GPU's number; empty: a GPU if there is one")
    seed: int = setting(0, "seed of everything random", ge=0)

    @model_validator(mode="after")
    def _plan_decides_alone(self) -> "PruneConfig":
        if self.plan is None:
            return self
        fields = type(self).model_fields
        given = [name for name in DECIDED_BY_A_PLAN if getattr(self, name) != fields[name].default]
        if given:
            flags = " and ".join(flags_of(name, fields[name])[0] for name in given)
            raise ValueError(f"{flags}: --plan says already what goes. Leave out one of them.")
        if self.repair_again != "none" and not (self.data and self.calibration_images):
            raise ValueError(
                f"--repair {self.repair_again}: looks at training images. Give --data."
            )
        return self

    @model_validator(mode="after")
    def _runtime_has_precision(self) -> "PruneConfig":
        check_runtime_precision(self.runtime, self.runtime_precision)
        return self

    @property
    def repair_again(self) -> Literal["ridge", "bn", "none"]:
        """Return how a cut by `plan` is repaired: not at all, unless that was asked for."""
        return self.repair if "repair" in self.model_fields_set else "none"

    @model_validator(mode="after")
    def _has_one_budget(self) -> "PruneConfig":
        given = [f"--{name.replace('_', '-')}" for name in BUDGETS if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"give one budget, not {' and '.join(given)}.")
        if self.remove_blocks and not (self.data and self.calibration_images):
            raise ValueError("--remove-blocks: looks at training images. Give --data.")
        if self.remove_blocks == "auto":
            if not given or self.percent:
                raise ValueError(
                    "--remove-blocks auto: needs a budget that blocks and channels share: --flops, "
                    "--params, --latency-ms or --speedup."
                )
            if self.dry_run:
                raise ValueError(
                    "--remove-blocks auto: is decided by cutting. Give a number with --dry-run."
                )
        return self
