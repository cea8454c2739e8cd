"""Whether the target is met, whether pruning paid, and what must be doubted, in one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prunus.data.index import ImageIndex
from prunus.pipeline.compress.ship import POINTS, Shipped
from prunus.pipeline.compress.target import CLOSE_ENOUGH, Target

IMAGES_OF_A_CLASS = 20
"""Training images of a class, on average, below which figures of a data set say little."""
COMPARED = ("smaller", "quantized parent", "scratch")
"""Roles of models that might do the job without pruning."""


@dataclass(frozen=True)
class Finding:
    """What a run came to.

    Attributes:
        factor: How many times as fast, small or cheap the result is.
        drop: Points of mAP50-95 lost against the fair comparison; None without one.
        interval: 95 % of the resampled drops lie between these.
        doubts: Why nothing can be promised.
        better: A comparator that is as fast and as accurate as the result, if there is one.
        is_met: Whether the target is met; None where nothing can be promised.
    """

    factor: float
    drop: float | None
    interval: tuple[float, float] | None
    doubts: tuple[str, ...]
    better: Shipped | None
    is_met: bool | None

    @property
    def paid(self) -> bool:
        """Return whether the result is worth its trouble."""
        return self.better is None and self.factor > 1

    def facts(self, target: Target) -> dict[str, Any]:
        """Return what the report says of it."""
        return {
            "met": self.is_met,
            "paid": self.paid,
            "sentence": self.sentence(target),
            "factor": self.factor,
            "drop": self.drop,
            "interval": self.interval,
            "doubts": list(self.doubts),
        }

    def sentence(self, target: Target) -> str:
        """Return the verdict in one sentence."""
        lost = "" if self.drop is None else f", {self._lost()}"
        reached = f"{target.describe(self.factor)}{lost}"
        if self.better is not None:
            return (
                f"Pruning did not pay: {self.better.model.step} is as fast and as accurate "
                f"as the pruned model ({reached})."
            )
        if self.is_met is None:
            return f"No promise: {'; '.join(self.doubts)}. Reached: {reached}."
        if not self.is_met:
            return f"The target is not met; reached: {reached}."
        allowed = "" if target.max_drop is None else f" (allowed: {target.max_drop:g})"
        return f"The target is met: {reached}{allowed}{self._unsure(target)}."

    def _lost(self) -> str:
        assert self.drop is not None
        text = f"{abs(self.drop):.1f} points of mAP50-95 {'lost' if self.drop >= 0 else 'gained'}"
        if self.interval is None:
            return text
        return (
            f"{text} (95 % interval of the loss {self.interval[0]:+.1f} to {self.interval[1]:+.1f})"
        )

    def _unsure(self, target: Target) -> str:
        if target.max_drop is None or self.interval is None or self.interval[1] <= target.max_drop:
            return ""
        return f"; on other images it may be up to {self.interval[1]:.1f}"


def find(
    target: Target, goal: float | None, factor: float, models: Sequence[Shipped], train: ImageIndex
) -> Finding:
    """Compare the result with all others.

    Args:
        target: What was asked for.
        goal: As a factor; None where only the drop is limited.
        factor: What the result reaches.
        models: Of the table; the one with the role "result" or "quantized result" ships.
        train: The training images.
    """
    by_role = {entry.model.role: entry for entry in models}
    result = by_role["result"]
    fair = by_role.get("longer")
    drop = None if fair is None else POINTS * (fair.model.map50_95 - result.model.map50_95)
    difference = result.model.val.report.get("comparison", {}).get("mAP50-95")
    interval = None
    if fair is not None and difference is not None:
        low, high = difference["interval"]
        interval = (-POINTS * high, -POINTS * low)
    doubts = _doubts(train)
    fast_enough = goal is None or factor >= goal * CLOSE_ENOUGH
    good_enough = target.max_drop is None or (drop is not None and drop <= target.max_drop)
    met = fast_enough and good_enough and factor > 1
    better = _better(result, [by_role[role] for role in COMPARED if role in by_role], target)
    return Finding(factor, drop, interval, doubts, better, None if doubts else met)


def _doubts(train: ImageIndex) -> tuple[str, ...]:
    each = len(train) / len(train.names)
    if each >= IMAGES_OF_A_CLASS:
        return ()
    return (
        f"{len(train)} training images for {len(train.names)} classes are far too few (less than "
        f"{IMAGES_OF_A_CLASS} a class)",
    )


def _better(result: Shipped, others: list[Shipped], target: Target) -> Shipped | None:
    name = f"{target.runtime} {target.precision}"
    limit = result.latency_ms.get(name)
    for other in others:
        ms = (
            min(other.latency_ms.values(), default=None)
            if other.int8
            else (other.latency_ms.get(name))
        )
        if limit is None or ms is None:
            continue
        if ms <= limit and other.model.map50_95 >= result.model.map50_95:
            return other
    return None
