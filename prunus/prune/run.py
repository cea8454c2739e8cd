"""The `prune` verb on a network in memory: score, select, cut, prove, repair."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from prunus.model.channels.probe import Inputs
from prunus.model.channels.rules import RULES, Rule
from prunus.model.channels.table import ChannelTable
from prunus.model.channels.trace import trace
from prunus.prune.budget import Scope
from prunus.prune.chooser import Chooser
from prunus.prune.costs import Pricing
from prunus.prune.criteria import AUTO
from prunus.prune.criteria.members import Criterion
from prunus.prune.evidence import SEED, Calibration, Observation
from prunus.prune.plan import Plan, apply_plan, make_plan
from prunus.prune.proof import Proved, cut_exactly
from prunus.prune.repair.carrier import Carried
from prunus.prune.repair.choose import Method, Repair
from prunus.prune.repair.choose import repair as repair_network
from prunus.prune.repair.constants import Fold
from prunus.prune.selection import Selection

__all__ = ["Preview", "Pricing", "PruneResult", "preview", "prune"]


class Preview(NamedTuple):
    """What would be removed.

    Attributes:
        table: The network's channels.
        selection: The widths before and after.
    """

    table: ChannelTable
    selection: Selection


@dataclass(frozen=True)
class PruneResult:
    """A smaller network and what was done to it.

    Attributes:
        model: The smaller one.
        plan: What went, for the same cut on a freshly built model.
        selection: The widths before and after, and why layers kept more than was asked.
        error: Largest relative difference from the masked network: the proof.
        pinned: Modules that turned out to count on their widths, and the reasons.
        fold: What became of the removed channels' constants.
        repair: None without calibration images.
        carried: Channels that carry constants across borders; None unless asked for.
    """

    model: nn.Module
    plan: Plan
    selection: Selection
    error: float
    pinned: Mapping[str, str]
    fold: Fold
    repair: Repair | None
    carried: Carried | None = None

    def table(self) -> str:
        """Return the widths before and after, as text."""
        return self.selection.table()


def prune(  # noqa: PLR0913  one argument a setting of the verb
    model: nn.Module,
    example_inputs: Inputs,
    *,
    percent: float | None = None,
    params: float | None = None,
    flops: float | None = None,
    latency_ms: float | None = None,
    criterion: str | Criterion = AUTO,
    scope: Scope = "global",
    round_to: int = 8,
    min_channels: int = 8,
    max_layer_percent: float | None = None,
    keep: Sequence[str] = (),
    calibration: Calibration | None = None,
    repair: Method = "ridge",
    carriers: bool = False,
    loss_curves: Mapping[str, Tensor] | None = None,
    pricing: Pricing | None = None,
    cost_inputs: Inputs | None = None,
    rules: Mapping[str, Rule] = RULES,
    in_place: bool = False,
    seed: int = SEED,
) -> PruneResult:
    """Remove the least important channels of any network, within one budget.

    Args:
        model: Any; stays as it is unless `in_place`. `requires_grad` and modes do not matter and
            are kept.
        example_inputs: What to trace and prove it on: a tensor, a tuple of positional arguments or
            a mapping of keyword arguments. Noise will do; small is fast.
        percent: Share of the prunable channels to REMOVE, in (0, 1).
        params: Share of the parameters to KEEP, in (0, 1).
        flops: Share of the operations to KEEP, in (0, 1).
        latency_ms: Milliseconds, at most; needs `pricing`.
        criterion: A name in CRITERIA, or a function like those. "auto": reconstruction with
            images, l2 without.
        scope: Compare channels of the whole network ("global"), or take the same share of each
            layer.
        round_to: Kept channels are a multiple of this.
        min_channels: No layer keeps fewer.
        max_layer_percent: No layer loses more than this share, in (0, 1).
        keep: Paths of modules whose layers keep all their channels.
        calibration: Images, for criteria that look at some and for the repair.
        repair: With images: "ridge" solves layers anew, "bn" takes batch-norm statistics anew,
            "none" does neither. Kept where they help on images they were not fitted to.
        carriers: Let one channel of each group for which it pays carry the constants of the removed
            ones across zero-padded borders (`repair.carrier`): then a slimmed network, whose
            removed gammas are zero, stays as it was. With `round_to` 1 that is one more channel,
            else the least important one that was kept gives way.
        loss_curves: By group name, (n + 1,) what is lost without the first k channels, as
            `sensitivity` measures it; drives how much each group loses instead of the scores.
        pricing: Of the runtime, for `latency_ms`.
        cost_inputs: What FLOPs are counted on, if not on `example_inputs`; shapes matter only.
        rules: Operation -> rule of the tracer.
        in_place: Cut `model` itself. Its parameters are new objects then: make optimizers anew.
        seed: Of everything random.

    Raises:
        PruningError: Not exactly one budget, an unknown criterion, nothing was removed, or the
            network cannot be cut exactly.
    """
    chooser = Chooser(
        model,
        example_inputs,
        percent=percent,
        params=params,
        flops=flops,
        latency_ms=latency_ms,
        criterion=criterion,
        scope=scope,
        round_to=round_to,
        min_channels=min_channels,
        max_layer_percent=max_layer_percent,
        keep=keep,
        calibration=calibration,
        repair=repair,
        carriers=carriers,
        loss_curves=loss_curves,
        pricing=pricing,
        cost_inputs=cost_inputs,
        rules=rules,
        seed=seed,
    )
    proved = cut_exactly(model, example_inputs, chooser, rules=rules)
    fold, carried = chooser.fold_(proved)
    plan = make_plan(model, proved.table, proved.tags, facts={"budget": vars(chooser.budget)})
    smaller, outcome = _repaired(model, proved, calibration, repair, chooser.observation)
    if in_place:
        apply_plan(plan, model, in_place=True)
        model.load_state_dict(smaller.state_dict())
        smaller = model
    return PruneResult(
        smaller, plan, chooser.chosen[-1], proved.error, proved.pinned, fold, outcome, carried
    )


def preview(model: nn.Module, example_inputs: Inputs, **settings: Any) -> Preview:
    """Say what `prune` would remove, without cutting.

    Args:
        model: As for `prune`.
        example_inputs: As for `prune`.
        settings: Those of `prune`; `repair` and `in_place` have no meaning here.

    Raises:
        PruningError: As `prune`.
    """
    call = inspect.signature(prune).bind(model, example_inputs, **settings)
    call.apply_defaults()
    given = {**call.arguments, "repair": "none"}  # a repair would have the images observed
    del given["in_place"]
    chooser = Chooser(**given)
    table = trace(model, example_inputs, chooser.rules)
    chooser(table)
    return Preview(table, chooser.chosen[-1])


def _repaired(
    model: nn.Module,
    proved: Proved,
    calibration: Calibration | None,
    method: Method,
    observation: Observation | None,
) -> tuple[nn.Module, Repair | None]:
    if calibration is None or method == "none":
        return proved.model, None
    return repair_network(
        proved.model, model, proved.table, proved.tags, calibration, method, observation
    )
