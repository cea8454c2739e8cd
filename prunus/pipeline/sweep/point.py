"""What one trial varies, and what its row of the table holds."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["waiting", "running", "done", "failed"]
DENSE = "dense"
"""Stands for the criterion in the row of the model as it is."""


@dataclass(frozen=True)
class Point:
    """One place of the grid.

    Attributes:
        criterion: How channels are ranked.
        repair: What mends the cut.
        scope: global or layer.
        round_to: A number, or auto.
        budget: flops, params, percent or speedup.
        amount: Of the budget; shares lie between 0 and 1.
        seed: Of everything random.
    """

    criterion: str
    repair: str
    scope: str
    round_to: str
    budget: str
    amount: float
    seed: int

    def prune_values(self) -> dict[str, object]:
        """Return the settings of `prunus prune`, from which `parse` makes a `PruneConfig`."""
        return {
            "criterion": self.criterion,
            "repair": self.repair,
            "scope": self.scope,
            "round_to": self.round_to,
            self.budget: self.amount,
            "seed": self.seed,
        }

    def __str__(self) -> str:
        return (
            f"{self.criterion} {self.scope} {self.repair} --round-to {self.round_to} "
            f"--{self.budget} {self.amount:g} --seed {self.seed}"
        )


@dataclass(frozen=True)
class Trial:
    """A row of the table; None is what is not known yet, or was not measured.

    Attributes:
        number: 0 is the dense model, trials count from 1.
        status: waiting, running, done or failed.
        attempts: How often it was begun.
        map50: On the validation split, in float32; from 0 to 1, as `map50_95`.
        drop: `map50_95` of the dense model less the trial's.
        gflops: At 640 pixels.
        flops_share: `gflops` over the dense model's.
        ms: Of an image, in the runtime; `dense_ms` of the dense model in the same run.
        speedup: `dense_ms` over `ms`.
        seconds: That the whole trial took; `core_seconds` that its process computed of them: what
            else the machine does lengthens only the first.
        worker: Machine and process that computed.
        weights: The model, below the sweep's folder.
        error: Why it failed, in a line.
    """

    number: int
    status: Status
    criterion: str
    repair: str | None = None
    scope: str | None = None
    round_to: str | None = None
    budget: str | None = None
    amount: float | None = None
    seed: int | None = None
    attempts: int = 0
    map50: float | None = None
    map50_95: float | None = None
    drop: float | None = None
    params: int | None = None
    gflops: float | None = None
    flops_share: float | None = None
    ms: float | None = None
    dense_ms: float | None = None
    speedup: float | None = None
    seconds: float | None = None
    core_seconds: float | None = None
    worker: str | None = None
    weights: str | None = None
    error: str | None = None

    @property
    def point(self) -> Point | None:
        """What it varies; None for the dense model."""
        if self.criterion == DENSE:
            return None
        return Point(
            self.criterion,
            str(self.repair),
            str(self.scope),
            str(self.round_to),
            str(self.budget),
            float(self.amount or 0),
            int(self.seed or 0),
        )

    @property
    def title(self) -> str:
        return DENSE if self.point is None else str(self.point)
