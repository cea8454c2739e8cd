"""`Target`: what is asked for, as a factor: how many times as fast, as small or as cheap.

One number for all kinds lets the search move between them: 2 is half of the milliseconds, of the
FLOPs, of the parameters or of the megabytes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prunus.export.latency.runtimes import RUNTIMES
from prunus.pipeline.compress.config import TARGETS, CompressConfig

DEFAULT_SPEEDUP = 2.0
ROUND_OFF = 1e-9
CLOSE_ENOUGH = 0.98
"""Of a factor that was asked for: milliseconds measured twice differ by more than the rest."""


@dataclass(frozen=True)
class Costs:
    """What a model costs.

    Attributes:
        ms: Milliseconds of an image in the target's runtime.
        file_mb: Megabytes of the file for it.
        params: Parameters.
        gflops: At 640 pixels.
    """

    ms: float
    file_mb: float
    params: int
    gflops: float


@dataclass(frozen=True)
class Target:
    """What is asked for.

    Attributes:
        kind: One of TARGETS.
        goal: As the user said it; None for as far as `max_drop` allows.
        max_drop: Points of mAP50-95 that may be lost; None for any.
        runtime: Where milliseconds are measured.
        precision: What it computes in.
        threads: Of it.
    """

    kind: str
    goal: float | None
    max_drop: float | None
    runtime: str
    precision: str
    threads: int

    @property
    def timing(self) -> str:
        """Return the key of what is measured in the target's runtime and precision."""
        return f"{self.runtime} {self.precision}"

    @property
    def place(self) -> str:
        """Return the same for people."""
        return f"{RUNTIMES[self.runtime].title} {self.precision}"

    @property
    def needs_costs(self) -> bool:
        """Return whether the goal is no factor until the dense model has been measured."""
        return self.goal is not None and self.kind in ("latency_ms", "size_mb")

    @property
    def is_time(self) -> bool:
        """Return whether milliseconds decide."""
        return self.kind in ("speedup", "latency_ms")

    def excess(self, drop: float | None) -> float:
        """Return the points that are lost beyond what may be; infinite if none are known."""
        if self.max_drop is None:
            return 0.0
        over = math.inf if drop is None else drop - self.max_drop
        return over if over > ROUND_OFF else 0.0

    def factor(self, dense: Costs | None) -> float | None:
        """Return the goal as a factor over the dense model; None where there is no goal.

        Args:
            dense: What the dense model costs, where the target `needs_costs`.
        """
        goal = self.goal
        if goal is None or self.kind == "speedup":
            return goal
        if self.needs_costs:
            assert dense is not None
            return (dense.ms if self.kind == "latency_ms" else dense.file_mb) / goal
        return 1 / (1 - goal) if self.kind == "percent" else 1 / goal

    def measured(self, dense: Costs, model: Costs) -> float | None:
        """Return the factor that a model reaches; None for what is exact by itself."""
        if self.kind == "percent":
            return None
        name = {"speedup": "ms", "latency_ms": "ms", "flops": "gflops", "size_mb": "file_mb"}
        key = name.get(self.kind, self.kind)
        return float(getattr(dense, key) / getattr(model, key))

    def budget(self, factor: float) -> dict[str, Any]:
        """Return the settings of `prune` that remove so much."""
        if self.is_time:
            return {
                "speedup": factor,
                "runtime": self.runtime,
                "runtime_precision": self.precision,
                "threads": self.threads,
            }
        if self.kind == "percent":
            return {"percent": 1 - 1 / factor}
        return {"flops" if self.kind == "flops" else "params": 1 / factor}

    def facts(self) -> dict[str, Any]:
        """Return what the report says of it."""
        plain = {name: getattr(self, name) for name in ("kind", "max_drop", "runtime")}
        return {**plain, "asked": self.goal, "precision": self.precision, "threads": self.threads}

    def describe(self, factor: float, precision: str | None = None) -> str:
        """Return a factor in words.

        Args:
            factor: Over the dense model.
            precision: Of the model that reaches it, where it is not the target's.
        """
        where = f"{RUNTIMES[self.runtime].title} {precision}" if precision else self.place
        words: Mapping[str, str] = {
            "flops": f"{1 / factor:.0%} of the FLOPs",
            "params": f"{1 / factor:.0%} of the parameters",
            "size_mb": f"{1 / factor:.0%} of the file",
            "percent": f"{1 - 1 / factor:.0%} of the channels removed",
        }
        return words.get(self.kind, f"{factor:.2f}x as fast in {where}")


def target_of(settings: CompressConfig) -> Target:
    """Return what the settings ask for."""
    given = {name: getattr(settings, name) for name in TARGETS if getattr(settings, name)}
    if not given:
        given = {"speedup": None if settings.max_drop is not None else DEFAULT_SPEEDUP}
    ((kind, goal),) = given.items()
    return Target(
        kind,
        goal,
        settings.max_drop,
        settings.runtime,
        settings.runtime_precision,
        settings.threads,
    )
