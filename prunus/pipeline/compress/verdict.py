"""Whether the target is met, whether pruning paid, and what must be doubted, in one sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prunus.core.errors import ExportError
from prunus.data.index import ImageIndex
from prunus.pipeline.compress.ship import Shipped
from prunus.pipeline.compress.target import CLOSE_ENOUGH, Target
from prunus.pipeline.compress.work import POINTS, points_lost

IMAGES_OF_A_CLASS = 20
"""Training images of a class, on average, below which figures of a data set say little."""
ASKED = {
    "speedup": "{:g}x",
    "latency_ms": "{:g} ms",
    "flops": "{:.0%}",
    "params": "{:.0%}",
    "size_mb": "{:g} MB",
    "percent": "{:.0%}",
}
COMPARED = ("smaller", "quantized parent", "scratch")
"""Roles of models that might do the job without pruning."""


@dataclass(frozen=True)
class Finding:
    """What a run came to.

    Attributes:
        ships: The result, in float or in INT8.
        factor: How many times as fast, small or cheap the result is.
        fair: Name of the model that the drop is counted from; None for no drop.
        drop: Points of mAP50-95 lost against it.
        interval: 95 % of the resampled drops lie between these.
        doubts: Why nothing can be promised.
        better: A comparator that is as fast and as accurate as the result, if there is one.
        is_met: Whether the target is met; None where nothing can be promised.
    """

    ships: Shipped
    factor: float
    fair: str | None
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
            "ships": self.ships.model.name,
            "fair": self.fair,
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
        precision = "INT8" if self.ships.int8 else None
        asked = "" if target.goal is None else f" ({ASKED[target.kind].format(target.goal)} asked)"
        reached = f"{target.describe(self.factor, precision)}{asked}{lost}"
        if self.better is not None:
            return (
                f"Pruning did not pay: {self.better.model.step} is as fast and as accurate "
                f"as the pruned model ({reached})."
            )
        if self.is_met is None:
            return f"No promise: {'; '.join(self.doubts)}. Reached: {reached}."
        if not self.is_met:
            return f"The target is not met; reached: {reached}."
        allowed = "" if target.max_drop is None else f"; {target.max_drop:g} may be lost"
        return f"The target is met: {reached}{allowed}{self._unsure(target)}."

    def _lost(self) -> str:
        """Return the drop with its interval; of a gain both are turned round."""
        assert self.drop is not None
        word, sign = ("lost", 1) if self.drop >= 0 else ("gained", -1)
        text = f"{abs(self.drop):.1f} points of mAP50-95 {word}"
        if self.interval is None:
            return text
        low, high = sorted(sign * end for end in self.interval)
        return f"{text} (95 % interval {low:+.1f} to {high:+.1f})"

    def _unsure(self, target: Target) -> str:
        if target.max_drop is None or self.interval is None or self.interval[1] <= target.max_drop:
            return ""
        return f"; on other images it may be up to {self.interval[1]:.1f}"


def find(
    target: Target,
    goal: float | None,
    reached: float,
    models: Sequence[Shipped],
    fair: str | None,
    doubts: tuple[str, ...],
) -> Finding:
    """Choose between the result in float and in INT8, and compare it with all others.

    Args:
        target: What was asked for.
        goal: As a factor; None where only the drop is limited.
        reached: What the result reaches where the target is no time; times are those of `models`.
        models: Of the table, timed; those with the roles "result" and "quantized result" may ship.
        fair: Name of the one that the drop is counted from; None for no drop.
        doubts: Why nothing can be promised.

    Raises:
        ExportError: What ships was not timed in the target's runtime.
    """
    by_role = {entry.model.role: entry for entry in models}
    judge = next((entry for entry in models if entry.model.name == fair), None)
    ships = _fastest(by_role, judge, target)
    factor = _speedup(by_role["parent"], ships, target) if target.is_time else reached
    drop = _drop(ships, judge)
    fast_enough = goal is None or factor >= goal * CLOSE_ENOUGH
    met = fast_enough and not target.excess(drop) and factor > 1
    better = _better(ships, [by_role[role] for role in COMPARED if role in by_role], target)
    interval = None if judge is None else _interval(ships)
    return Finding(ships, factor, fair, drop, interval, doubts, better, None if doubts else met)


def _fastest(by_role: Mapping[str, Shipped], fair: Shipped | None, target: Target) -> Shipped:
    """Return INT8 where it is faster than float and loses no more than may be lost."""
    result, int8 = by_role["result"], by_role.get("quantized result")
    if int8 is None or int8.loses_too_much or target.excess(_drop(int8, fair)):
        return result
    float_ms, int8_ms = result.ms(target), int8.ms(target)
    return int8 if float_ms and int8_ms and int8_ms < float_ms else result


def _speedup(parent: Shipped, ships: Shipped, target: Target) -> float:
    before, after = parent.ms(target), ships.ms(target)
    if not (before and after):
        raise ExportError(f"benchmark: no row of {ships.model.step} in {target.timing}.")
    return before / after


def _drop(model: Shipped, fair: Shipped | None) -> float | None:
    return None if fair is None else points_lost(fair.model.map50_95, model.model.map50_95)


def _interval(model: Shipped) -> tuple[float, float] | None:
    """Return between which points 95 % of the resampled drops lie."""
    difference = model.model.val.report.get("comparison", {}).get("mAP50-95")
    if difference is None:
        return None
    low, high = difference["interval"]
    return -POINTS * high, -POINTS * low


def doubts_of(train: ImageIndex) -> tuple[str, ...]:
    """Return why nothing can be promised of models that have learnt from these images."""
    each = len(train) / len(train.names)
    if each >= IMAGES_OF_A_CLASS:
        return ()
    return (
        f"{len(train)} training images for {len(train.names)} classes are far too few (less than "
        f"{IMAGES_OF_A_CLASS} a class)",
    )


def _better(ships: Shipped, others: Sequence[Shipped], target: Target) -> Shipped | None:
    """Return a model that was not pruned so, and is as fast and as accurate."""
    limit = ships.ms(target)
    for other in others:
        ms = other.ms(target)
        if limit is None or ms is None or ms > limit:
            continue
        if other.model.map50_95 >= ships.model.map50_95:
            return other
    return None
