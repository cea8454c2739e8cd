"""`prune`: weights (+ data) → fewer channels, really removed; before and after side by side."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import cached_property
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from prunus.core.console import log
from prunus.core.device import keep_freed_pages, select_device
from prunus.core.errors import PruningError
from prunus.core.runs import Run, start
from prunus.model.channels.table import ChannelTable
from prunus.model.channels.trace import trace
from prunus.model.cost import count_flops, count_parameters
from prunus.model.detector import Detector
from prunus.pipeline.before_after import compare_sides, sides_table
from prunus.pipeline.blocks import Paths, best_of, cheapest_blocks
from prunus.pipeline.images import DetectorImages
from prunus.pipeline.latency import RuntimeLatency
from prunus.pipeline.models import rounded_size
from prunus.prune.blocks.find import Block
from prunus.prune.blocks.remove import remove_blocks
from prunus.prune.budget import Budget
from prunus.prune.config import PruneConfig
from prunus.prune.costs import Costs, flops_costs, params_costs
from prunus.prune.detectors import probe, published_input, row_paths
from prunus.prune.evidence import Calibration
from prunus.prune.plan import Plan, read_plan
from prunus.prune.repair.choose import Repair, held_out_error
from prunus.prune.replay import replay
from prunus.prune.run import PruneResult, preview
from prunus.prune.run import prune as prune_network
from prunus.prune.selection import Selection
from prunus.prune.sensitivity.curves import damage_curves
from prunus.prune.sensitivity.record import read_record, read_sensitivity
from prunus.weights.files import Checkpoint, load_weights
from prunus.weights.history import Step
from prunus.weights.native import SUFFIX, save_weights

PRUNED, PLAN = f"pruned{SUFFIX}", "plan.json"
HALF = 0.5
"""Share of the channels that goes when no budget is given."""


def prune(settings: PruneConfig) -> dict[str, object]:
    """Remove channels, write the smaller model, and return the report.

    Raises:
        PruningError: Nothing could be removed.
    """
    keep_freed_pages()
    with start("prune", settings) as run:
        run.add_input("weights", settings.weights)
        if settings.data is not None:
            run.add_input("data", settings.data)
        job = _Job(settings, load_weights(settings.weights))
        if settings.plan is not None:
            _cut_again(job, run, settings.plan)
        elif settings.dry_run:
            run.report = job.preview()
        else:
            _cut(job, run)
        return run.finish()


class _Job:
    """One pruning: the detector, its images, and the words that the pruner understands."""

    def __init__(self, settings: PruneConfig, checkpoint: Checkpoint) -> None:
        self.settings, self.checkpoint = settings, checkpoint
        self.device = select_device(settings.device)
        self.detector = checkpoint.detector.to(self.device)
        self.side = rounded_size(settings.image_size, self.detector.stride)
        self.images = None
        if settings.data is not None:
            self.images = DetectorImages(
                settings.data,
                self.detector,
                side=self.side,
                batch_size=settings.batch_size,
                workers=settings.workers,
                device=self.device,
            )
        self.latency: RuntimeLatency | None = None
        if settings.latency_ms or settings.speedup:
            self.latency = RuntimeLatency(
                self.detector,
                settings.runtime,
                self.side,
                settings.threads,
                settings.runtime_precision,
            )

    def judge(self, detector: Detector) -> dict[str, Any]:
        """Return its metrics on the validation split; none without data."""
        return {} if self.images is None else self.images.judge(detector).metrics()

    def cut_again(self, plan: Plan) -> tuple[Detector, Repair | None]:
        """Make an earlier cut, and repair what is left if that was asked for."""
        return replay(plan, self.detector, self._calibration, self.settings.repair_again)

    def cut(self) -> PruneResult:
        """Take out blocks, if any are to go, and prune."""
        if self.settings.remove_blocks != "auto":
            return self._cut_without(self._blocks())
        calibration = cast(Calibration, self._calibration)
        removals = takewhile(self._over_budget, self._cheapest_blocks())
        error = held_out_error(self.detector, calibration, cast(int, calibration.total))
        return best_of(removals, self._cut_without, lambda result: result.model, error)

    def _cut_without(self, blocks: Paths) -> PruneResult:
        lighter = remove_blocks(self.detector, blocks)
        result = prune_network(lighter, probe(lighter), **self._arguments(lighter))
        return replace(
            result,
            plan=result.plan.model_copy(update={"blocks": blocks}),
            selection=self._of_the_dense(result.selection, lighter),
        )

    def _of_the_dense(self, selection: Selection, lighter: Detector) -> Selection:
        """Return a selection in a detector without blocks, its shares those of the whole one."""
        left = self._share_left(lighter)
        return replace(
            selection,
            budget=Budget(selection.budget.kind, selection.budget.goal * left),
            asked=selection.asked * left,
            achieved=selection.achieved * left,
        )

    def _over_budget(self, blocks: Paths) -> bool:
        """Return whether channels still have to go when these blocks are gone."""
        lighter = remove_blocks(self.detector, blocks)
        if self.latency is None:
            return cast(float, self._share) < self._share_left(lighter)
        costs = self.latency.costs(lighter, trace(lighter, probe(lighter)))
        return costs.total({}) > self._latency_ms

    @property
    def _share(self) -> float | None:
        """Return the share of the parameters or FLOPs to keep, if one is the budget."""
        return self.settings.params or self.settings.flops

    @property
    def _latency_ms(self) -> float:
        dense_ms = cast(RuntimeLatency, self.latency).dense_ms
        return self.settings.latency_ms or dense_ms / cast(float, self.settings.speedup)

    def _share_left(self, lighter: Detector) -> float:
        """Return the share of the budgeted count that a detector without blocks has; else 1."""
        if self._share is None:
            return 1.0
        count: Callable[[Detector], int] = count_parameters if self.settings.params else count_flops
        return count(lighter) / count(self.detector)

    def _blocks(self) -> Paths:
        """Return the blocks that go first: the number that was asked for, or all there are."""
        count = cast(int, self.settings.remove_blocks)
        return tuple(islice(self._cheapest_blocks(), count + 1))[-1] if count else ()

    def _cheapest_blocks(self) -> Iterator[Paths]:
        return cheapest_blocks(self.detector, cast(Calibration, self._calibration), self._saved)

    def _saved(self, block: Block) -> float:
        """Return what a block costs: milliseconds under a latency budget, else operations."""
        return float(block.flops) if self.latency is None else self.latency.cost_of(block.path)

    def preview(self) -> dict[str, object]:
        """Say what would be removed; return the report."""
        blocks = self._blocks()
        lighter = remove_blocks(self.detector, blocks)
        table, selection = preview(lighter, probe(lighter), **self._arguments(lighter))
        selection = self._of_the_dense(selection, lighter)
        dense_table = trace(self.detector, probe(self.detector)) if blocks else table
        kept = {width.name: width.after for width in selection.widths}
        log.info("%s", selection.table())
        predicted = {}
        dense_costs = self._costs(self.detector, dense_table)
        for name, cost in self._costs(lighter, table).items():
            before, after = dense_costs[name].total({}), cost.total(kept)
            predicted[name] = {"before": before, "after": after}
            log.info(
                "predicted %s: %.5g -> %.5g (%.1f %%)", name, before, after, 1e2 * after / before
            )
        return {
            "dry_run": True,
            "predicted": predicted,
            "blocks": list(blocks),
            **selection_facts(selection),
        }

    def _costs(self, detector: Detector, table: ChannelTable) -> dict[str, Costs]:
        """Return what the widths of a detector cost, in all that can be told beforehand."""
        costs = {
            "params": params_costs(detector, table),
            "flops": flops_costs(detector, table, published_input()),
        }
        if self.latency is not None:
            costs["latency_ms"] = self.latency.costs(detector, table)
        return costs

    def _arguments(self, lighter: Detector) -> dict[str, Any]:
        settings = self.settings
        automatic = settings.round_to == "auto"
        return {
            **self._budget(lighter),
            "criterion": settings.criterion,
            "scope": settings.scope,
            "round_to": 8 if automatic else settings.round_to,
            "min_channels": settings.min_channels,
            "max_layer_percent": settings.max_layer_percent,
            "keep": row_paths(lighter, settings.keep),
            "calibration": self._calibration,
            "repair": settings.repair,
            "carriers": settings.carriers,
            "loss_curves": self._loss_curves(),
            "pricing": self.latency and self.latency.pricing(lighter, efficient=automatic),
            "cost_inputs": published_input(),
            "seed": settings.seed,
        }

    def _budget(self, lighter: Detector) -> dict[str, float]:
        """Return the budget of a detector without blocks: shares are of the whole one.

        Raises:
            PruningError: It is kept already.
        """
        if self.latency is not None:
            return {"latency_ms": self._latency_ms}
        if self._share is None:
            return {"percent": self.settings.percent or HALF}
        kind, left = "params" if self.settings.params else "flops", self._share_left(lighter)
        if self._share >= left:
            raise PruningError(
                f"--{kind} {self._share:g}: without its blocks it has {left:.3f} already. "
                "Ask for less, or take out fewer with --remove-blocks."
            )
        return {kind: self._share / left}

    @cached_property
    def _calibration(self) -> Calibration | None:
        if self.images is None:
            return None
        return self.images.calibration(self.settings.calibration_images)

    def _loss_curves(self) -> Mapping[str, Tensor] | None:
        path = self.settings.sensitivity
        if path is None:
            return None
        record = read_record(path)
        if record.header.weights_sha256 != self.checkpoint.sha256:
            raise PruningError(
                f"{path}: was measured on other weights than {self.settings.weights}. Run prunus "
                "sensitivity on these."
            )
        channels = {name: len(order) for name, order in record.order.items()}
        return damage_curves(read_sensitivity(path), channels)


def _cut(job: _Job, run: Run) -> None:
    """Prune, judge and write, and fill the run's report."""
    dense_metrics = job.judge(job.detector)
    result = job.cut()
    smaller = cast(Detector, result.model)
    log.info("%s", result.table())
    run.report = {
        **_write(job, run, smaller, result.plan, dense_metrics),
        **selection_facts(result.selection),
        "carriers": None
        if result.carried is None
        else {"groups": list(result.carried.groups), "residual": result.carried.residual},
        "pinned": dict(result.pinned),
        "error": result.error,
        "repair": None if result.repair is None else asdict(result.repair),
        "latency_prediction": _check_prediction(job, result, smaller),
    }


def _cut_again(job: _Job, run: Run, path: Path) -> None:
    """Cut as an earlier plan says, judge and write, and fill the run's report."""
    run.add_input("plan", path)
    plan = read_plan(path)
    dense_metrics = job.judge(job.detector)
    smaller, repair = job.cut_again(plan)
    log.info("%s", plan.table())
    run.report = {
        **_write(job, run, smaller, plan, dense_metrics),
        "widths": [vars(width) for width in plan.widths],
        "repair": None if repair is None else asdict(repair),
    }


def _write(
    job: _Job, run: Run, smaller: Detector, plan: Plan, dense_metrics: dict[str, Any]
) -> dict[str, object]:
    """Judge and write the smaller detector and its plan; return what the report says of both."""
    sides = compare_sides(
        {"before": job.detector, "after": smaller},
        {"before": dense_metrics, "after": job.judge(smaller)},
        job.device,
        job.side if job.settings.latency else None,
    )
    step = Step("prune", run.settings, job.checkpoint.sha256, sides["after"].metrics)
    save_weights(
        smaller,
        run.path(PRUNED),
        history=(*job.checkpoint.history, step),
        licence=job.checkpoint.licence,
    )
    plan.save(run.path(PLAN))
    log.info("%s", sides_table(f"before and after: {run.path(PRUNED)}", sides))
    return {
        "weights": str(run.path(PRUNED)),
        "plan": str(run.path(PLAN)),
        "before": sides["before"].facts(),
        "after": sides["after"].facts(),
        "blocks": list(plan.blocks),
    }


def _check_prediction(
    job: _Job, result: PruneResult, smaller: Detector
) -> dict[str, object] | None:
    """Measure both detectors in the runtime of the budget, and show how good the prediction was."""
    if job.latency is None or result.selection.predicted is None:
        return None
    after = result.selection.predicted[1]
    measured = job.latency.measure({"before": job.detector, "after": smaller})
    facts: dict[str, object] = {
        "runtime": job.settings.runtime,
        "precision": job.settings.runtime_precision,
        "predicted_speedup": job.latency.dense_ms / after,
        "measured_speedup": measured["before"] / measured["after"],
        "predicted_ms": after,
        "measured_ms": measured["after"],
    }
    log.info(
        "%s %s: predicted %.2fx (%.2f ms), measured %.2fx (%.2f ms)",
        facts["runtime"],
        facts["precision"],
        facts["predicted_speedup"],
        after,
        facts["measured_speedup"],
        measured["after"],
    )
    return facts


def selection_facts(selection: Selection) -> dict[str, object]:
    """Return what a report says of a selection."""
    return {
        "budget": vars(selection.budget),
        "asked": selection.asked,
        "achieved": selection.achieved,
        "shortfall": selection.shortfall,
        "widths": [vars(width) for width in selection.widths],
        "apart": dict(selection.apart),
    }
