"""`line_up`: every model of the comparison, exported, judged on the test split, and timed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from prunus.core.runs import Run
from prunus.pipeline.chain.stage import Done
from prunus.pipeline.compress.ship import Shipped, place, quantized, timed
from prunus.pipeline.compress.work import Model, Work

INT8_MAY_LOSE = 1.0
"""Points of mAP50-95, where no --max-drop says how many."""


@dataclass(frozen=True)
class Sides:
    """What is compared.

    Attributes:
        dense: The adapted model.
        longer: It, trained on for as long as the pruned one; `dense` itself for no epochs.
        fair: The better one of the two, which the drop is counted from.
        result: The pruned one.
        drop: Points that it lost against `fair`.
    """

    dense: Model
    longer: Model | None
    fair: Model | None
    result: Model
    drop: float | None


def line_up(work: Work, run: Run, sides: Sides, *, has_test: bool) -> list[Shipped]:
    """Ship and measure them: the dense ones first, then INT8, the result last."""
    dense = [sides.dense]
    if sides.longer is not None and sides.longer is not sides.dense:
        dense.append(sides.longer)
    shipped = [place(work, run, model) for model in (*dense, *_comparators(work, sides.result))]
    pruned = place(work, run, sides.result)
    extra = list(_int8(work, run, sides)) if work.schedule.int8 else []
    models = timed(work, [*shipped, *extra, pruned])
    if has_test:
        return _tested(work, models, None if sides.fair is None else sides.fair.name)
    work.not_done.append("No figures on a test split: the data set has none.")
    return models


def _comparators(work: Work, result: Model) -> Iterator[Model]:
    """Train what might do the job without pruning."""
    wanted: list[tuple[str, str, dict[str, Any]]] = []
    smaller = work.settings.smaller
    if smaller is not None:
        wanted.append(("smaller", f"{smaller.stem}, dense", {"weights": str(smaller)}))
    if work.schedule.from_scratch:
        fresh = {"weights": result.file, "fresh": True}
        wanted.append(("scratch", "pruned shape, from scratch", fresh))
    for name, step, values in wanted:
        if not work.affordable(work.schedule.whole):
            work.not_done.append(f"Not trained: {step}. --epochs or --hours are spent.")
            continue
        done = work.train(name, work.schedule.whole, **values)
        yield work.model(name, name, step, done)


def _int8(work: Work, run: Run, sides: Sides) -> Iterator[Shipped]:
    """Quantize the dense and the pruned model for the target's runtime."""
    limit, spent = work.target.max_drop, sides.drop or 0.0
    if limit is None:
        limit, spent = INT8_MAY_LOSE, 0.0
    beside = None if sides.fair is None else sides.fair.val
    for model, points in ((sides.dense, limit), (sides.result, limit - spent)):
        entry = quantized(work, run, model, points, beside)
        if entry is not None:
            yield entry


def _tested(work: Work, models: list[Shipped], fair: str | None) -> list[Shipped]:
    """Judge all on the test split: once, at the end, those that may ship beside the fair one."""
    tested: list[Shipped] = []
    beside: Done | None = None
    for entry in models:
        model = entry.model
        file = str(entry.runtime_file) if entry.int8 else model.file
        compared = beside if model.role in ("result", "quantized result") else None
        test = work.judge(model.name, file, "test", compared)
        beside = test if model.name == fair else beside
        tested.append(replace(entry, test=test))
    return tested
