"""The settings of `prunus compress`."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from prunus.core.config import setting
from prunus.pipeline.chain.reopen import ChainSettings
from prunus.prune.config import Share, check_runtime_precision

Positive = Annotated[float, Field(gt=0)]
TARGETS = ("speedup", "latency_ms", "flops", "params", "size_mb", "percent")


class CompressConfig(ChainSettings):
    """From a checkpoint and a data set to a smaller detector that meets a target, and the proof."""

    BUDGET: ClassVar[tuple[str, ...]] = ("hours", "attempts", "furthest")

    data: Path | None = setting(None, "data set YAML (required)")
    weights: Path | None = setting(None, "dense model to start from: .safetensors or official .pt")
    cfg: str = setting(
        "", "architecture to start from scratch with, instead of --weights: yolov5n …"
    )
    speedup: float | None = setting(
        None,
        "target: so many times as fast as the dense model, measured in --runtime; without any "
        "target 2, or with --max-drop alone as fast as that allows",
        gt=1,
    )
    latency_ms: Positive | None = setting(
        None, "target: milliseconds of an image in --runtime, at most"
    )
    flops: Share | None = setting(None, "target: share of the FLOPs to keep", gt=0, lt=1)
    params: Share | None = setting(None, "target: share of the parameters to keep", gt=0, lt=1)
    size_mb: Positive | None = setting(
        None, "target: megabytes of the file for --runtime, in float32"
    )
    percent: Share | None = setting(
        None, "target: share of the prunable channels to remove", gt=0, lt=1
    )
    max_drop: float | None = setting(
        None,
        "points of mAP50-95 that may be lost on the validation split, against the dense model "
        "trained for as many epochs",
        ge=0,
        le=100,
    )
    furthest: bool = setting(
        False, "when the target is met within --max-drop, look how much faster it can be"
    )
    runtime: Literal["onnx", "openvino", "torch"] = setting(
        "onnx", "runtime that the target is measured in"
    )
    runtime_precision: Literal["fp32", "bf16"] = setting("fp32", "what that runtime computes in")
    threads: int = setting(1, "threads of that runtime", ge=1)
    effort: Literal["quick", "normal", "thorough"] = setting(
        "normal",
        "how much to spend: sets the epochs of each training, the rounds, the cuts tried, and with "
        "thorough the training of the pruned model from scratch",
    )
    epochs: int | None = setting(None, "epochs of all trainings together, at most", ge=3)
    hours: Positive | None = setting(None, "hours after which no training is begun")
    adapt_epochs: int | None = setting(
        None, "epochs to adapt the dense model to the data, 0 to leave it as it is", ge=0
    )
    sparsity_epochs: int = setting(
        0, "epochs of sparsity training before the cuts, as in network slimming; 0 for none", ge=0
    )
    finetune_epochs: int | None = setting(
        None, "epochs to fine-tune the pruned model, over all rounds; 0 for none", ge=0
    )
    rounds: int | None = setting(
        None, "sparsify → prune → fine-tune, so many times, each a part of the way", ge=1, le=20
    )
    attempts: int | None = setting(None, "cuts that are trained and judged, at most", ge=1)
    criterion: str = setting(
        "reconstruction",
        "how channels are ranked; see prunus prune --help. After sparsity training: bn_scale",
    )
    repair: Literal["ridge", "bn", "none"] = setting(
        "ridge", "what mends the pruned model before its fine-tune; see prunus prune --help"
    )
    scope: Literal["global", "layer"] = setting(
        "global", "compare channels of all layers, or take the same share of each"
    )
    round_to: int | Literal["auto"] = setting(
        "auto", "kept channels are a multiple of this; see prunus prune --help"
    )
    activation: Literal["silu", "relu", "hardswish"] | None = setting(
        None, "swap the activation before the fine-tune, if --runtime is faster with it"
    )
    low_rank: Share | None = setting(
        None,
        "factorise the widest layers to this share of their rank, if --runtime is faster with it",
        gt=0,
        lt=1,
    )
    rewind: int | None = setting(
        None,
        "epoch of the adaptation whose weights the surviving channels restart from (lottery "
        "tickets)",
        ge=1,
    )
    int8: bool = setting(
        True, "quantize the dense and the pruned model too, and ship INT8 if it is faster"
    )
    longer: bool = setting(
        True,
        "train the dense model for as many epochs more as the pruned one gets: the fair comparison",
    )
    smaller: Path | None = setting(
        None, "weights of the next smaller dense model, trained for as long, to compare with"
    )
    from_scratch: bool | None = setting(
        None, "train the pruned shape from fresh weights for as long, to compare with"
    )
    from_sweep: Path | None = setting(
        None, "folder of a prunus sweep, whose best settings for the target are taken"
    )
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
    repeats: int = setting(50, "timed runs of each model in the benchmarks", ge=3)
    bootstrap: int = setting(
        1000, "resamples of the images for the 95 % intervals, 0 for none", ge=0, le=100_000
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "auto", "precision of the trainings"
    )
    device: str = setting("", "cpu, or a GPU's number; empty: a GPU if there is one")
    workers: int = setting(0, "processes that load images; 0: in this one", ge=0)
    seed: int = setting(0, "seed of everything random", ge=0)

    @model_validator(mode="after")
    def _has_one_start(self) -> "CompressConfig":
        if self.resume is not None:
            return self
        if self.data is None:
            raise ValueError("--data: is needed. Give the data set's YAML.")
        if (self.weights is None) == (not self.cfg):
            raise ValueError("give either --weights FILE, or --cfg NAME to start from scratch.")
        return self

    @model_validator(mode="after")
    def _has_one_target(self) -> "CompressConfig":
        given = [f"--{name.replace('_', '-')}" for name in TARGETS if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"give one target, not {' and '.join(given)}.")
        only_added = self.resume is not None and self.data is None
        if self.furthest and self.max_drop is None and not only_added:
            raise ValueError("--furthest: how far is decided by --max-drop, which is not given.")
        if self.max_drop is not None and not self.longer:
            raise ValueError("--max-drop: is judged against --longer. Leave --no-longer out.")
        if self.rewind is not None and self.low_rank is not None and self.rounds != 1:
            raise ValueError("--rewind and --low-rank go together in one round only: --rounds 1.")
        check_runtime_precision(self.runtime, self.runtime_precision)
        return self
