"""The `prune` verb on a network in memory: score, select, cut, prove, repair."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError, suggest
from prunus.model.channels.probe import Inputs
from prunus.model.channels.rules import RULES, Rule
from prunus.model.channels.table import ChannelGroup, ChannelTable
from prunus.model.channels.trace import trace
from prunus.model.layers import sized_layers
from prunus.prune.budget import Budget, Scope
from prunus.prune.costs import Costs, flops_price, params_costs
from prunus.prune.criteria import CRITERIA
from prunus.prune.criteria.members import Criterion
from prunus.prune.damage import Damage, from_scores
from prunus.prune.evidence import SEED, Calibration, Evidence, Observation
from prunus.prune.observe.observation import observe
from prunus.prune.plan import Plan, apply_plan, make_plan
from prunus.prune.proof import Proved, cut_exactly
from prunus.prune.repair.carrier import PAYS, Carried, carry_constants_, reserve, worth
from prunus.prune.repair.choose import Method, Repair
from prunus.prune.repair.choose import repair as repair_network
from prunus.prune.repair.constants import Fold, fold_constants_
from prunus.prune.selection import Selection, protected_by, select
from prunus.prune.surgery import named_tensors
from prunus.prune.widths import Rounding

AUTO = "auto"
WITH_IMAGES, WITHOUT_IMAGES = "reconstruction", "l2"
"""What "auto" means. On the official yolov5n, -20 % FLOPs, without training, reconstruction keeps
three quarters of mAP50-95 (`benchmarks/results/pruning_vs_torch_pruning.jsonl`). Without images, l2
needs nothing but weights, whatever the network."""


BUDGETS = {"percent": "percent", "params": "params", "flops": "flops", "latency": "latency_ms"}
"""Kinds of budgets, and how `prune` calls them."""


@dataclass(frozen=True)
class Pricing:
    """Milliseconds, as a runtime was measured: what a latency budget needs.

    Attributes:
        costs: Channels of the network -> what its widths cost.
        widths: The same -> by group name, the widths at which the runtime is efficient.
    """

    costs: Callable[[ChannelTable], Costs]
    widths: Callable[[ChannelTable], Mapping[str, Sequence[int]]] | None = None


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
    _check_finite(model)
    chooser = _Chooser(
        model,
        example_inputs,
        budget=_budget(percent=percent, params=params, flops=flops, latency=latency_ms),
        rank=find_criterion(criterion, calibration),
        scope=scope,
        rounding=Rounding(round_to, min_channels),
        max_layer_percent=max_layer_percent,
        keep=tuple(keep),
        calibration=calibration,
        repair=repair,
        carriers=carriers,
        loss_curves=loss_curves,
        pricing=pricing,
        cost_inputs=example_inputs if cost_inputs is None else cost_inputs,
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
        settings: Those of `prune`; `in_place` has no meaning here.

    Raises:
        PruningError: As `prune`.
    """
    given = {"repair": "none", "rules": RULES, **settings}
    budgets = {kind: given.pop(name, None) for kind, name in BUDGETS.items()}
    inputs = given.pop("cost_inputs", None)
    chooser = _Chooser(
        model,
        example_inputs,
        budget=_budget(**budgets),
        rank=find_criterion(given.pop("criterion", AUTO), given.get("calibration")),
        rounding=Rounding(given.pop("round_to", 8), given.pop("min_channels", 8)),
        cost_inputs=example_inputs if inputs is None else inputs,
        **given,
    )
    table = trace(model, example_inputs, given["rules"])
    chooser(table)
    return Preview(table, chooser.chosen[-1])


def find_criterion(criterion: str | Criterion, calibration: Calibration | None) -> Criterion:
    """Return a criterion by its name.

    Raises:
        PruningError: There is none of that name.
    """
    if not isinstance(criterion, str):
        return criterion
    if criterion == AUTO:
        criterion = WITHOUT_IMAGES if calibration is None else WITH_IMAGES
    if criterion not in CRITERIA:
        known = ", ".join((AUTO, *sorted(CRITERIA)))
        raise PruningError(
            f"criterion: no criterion '{criterion}'.{suggest(criterion, CRITERIA)} Known: {known}."
        )
    return CRITERIA[criterion]


@dataclass
class _Chooser:
    """Table -> the channels to remove; remembers what it chose for each table that it saw."""

    model: nn.Module
    example_inputs: Inputs
    budget: Budget
    rank: Criterion
    rounding: Rounding
    cost_inputs: Inputs
    repair: Method
    rules: Mapping[str, Rule]
    scope: Scope = "global"
    max_layer_percent: float | None = None
    keep: Sequence[str] = ()
    calibration: Calibration | None = None
    loss_curves: Mapping[str, Tensor] | None = None
    pricing: Pricing | None = None
    carriers: bool = False
    seed: int = SEED
    chosen: list[Selection] = field(default_factory=list)
    reserved: Mapping[str, int] = field(default_factory=dict)

    def __call__(self, table: ChannelTable) -> Tensor:
        groups = [group for group in table.free_groups if not protected_by(group, self.keep)]
        evidence = Evidence(self.model, table, self.calibration, self.seed, self.observation)
        pricing = self.pricing
        scores = self.rank(groups, evidence)
        selection = select(
            _damage(groups, scores, self.loss_curves),
            table,
            budget=self.budget,
            scope=self.scope,
            costs=self._costs(table),
            rounding=self.rounding,
            max_layer_percent=self.max_layer_percent,
            keep=self.keep,
            widths=pricing.widths(table) if pricing and pricing.widths else None,
        )
        _check_something_goes(selection)
        if self.carriers:
            selection = self._with_carriers(selection, table, scores)
        self.chosen.append(selection)
        return selection.tags

    def fold_(self, proved: Proved) -> tuple[Fold, Carried | None]:
        """Give the readers of removed channels, in place, the constants that those would emit."""
        cut = (proved.model, self.model, proved.table, proved.tags, self.example_inputs)
        if not self.carriers:
            return fold_constants_(*cut), None
        carried = carry_constants_(*cut, self.reserved)
        return carried.fold, carried

    def _with_carriers(
        self, selection: Selection, table: ChannelTable, scores: Mapping[str, Tensor]
    ) -> Selection:
        """Give one slot of each group for which it pays to a carrier."""
        pictures = self.example_inputs
        if self.calibration is not None:
            pictures = next(iter(self.calibration.batches()))
        gains = worth(self.model, table, selection.tags, pictures)
        heavy = [name for name, gain in gains.items() if gain > PAYS]
        extra = self.rounding.multiple == 1
        reserved = reserve(self.model, table, selection.tags, heavy, scores={} if extra else scores)
        tags, self.reserved = reserved.tags, reserved.carriers
        gone = {group.name: int(torch.isin(group.tags, tags).sum()) for group in table.groups}
        widths = tuple(
            replace(width, after=width.before - gone.get(width.name, 0))
            for width in selection.widths
        )
        return replace(selection, tags=tags, widths=widths)

    @cached_property
    def observation(self) -> Observation | None:
        """Return what the images show, if anything needs it; they are looked at once."""
        needed = self.repair == "ridge" or self.rank is CRITERIA[WITH_IMAGES]
        if self.calibration is None or not needed:
            return None
        table = trace(self.model, self.example_inputs, self.rules)
        return observe(self.model, table, self.calibration, self.seed)

    def _costs(self, table: ChannelTable) -> Costs:
        if self.budget.kind == "latency":
            if self.pricing is None:
                raise PruningError("latency_ms: needs `pricing`, which says what widths cost.")
            return self.pricing.costs(table)
        if self.budget.kind == "params":
            return params_costs(self.model, table)
        return flops_costs(self.model, table, self.cost_inputs)


def flops_costs(model: nn.Module, table: ChannelTable, inputs: Inputs) -> Costs:
    """Return what a network's widths cost in operations, on inputs of which shapes matter only."""
    layers = sized_layers(model, inputs)
    return Costs(layers, table, flops_price(layers))


def _budget(**shares: float | None) -> Budget:
    given = {kind: goal for kind, goal in shares.items() if goal is not None}
    if len(given) != 1:
        raise PruningError(
            "budget: give exactly one of percent, params, flops and latency_ms, got "
            f"{', '.join(given) or 'none'}. percent=0.5 removes half of the channels."
        )
    ((kind, goal),) = given.items()
    return Budget(kind, goal)  # type: ignore[arg-type]


def _damage(
    groups: Sequence[ChannelGroup],
    scores: Mapping[str, Tensor],
    loss_curves: Mapping[str, Tensor] | None,
) -> dict[str, Damage]:
    damage = {}
    for group in groups:
        if not bool(scores[group.name].isfinite().all()):
            raise PruningError(
                f"{group.name}: the criterion's scores are not finite. Choose another --criterion."
            )
        damage[group.name] = from_scores(scores[group.name])
        if loss_curves is not None:
            if group.name not in loss_curves:
                raise PruningError(
                    f"{group.name}: the sensitivity file does not know this group. Measure it "
                    "again on these weights."
                )
            damage[group.name] = Damage(damage[group.name].order, loss_curves[group.name])
    return damage


def _check_finite(model: nn.Module) -> None:
    for name, tensor in named_tensors(model).items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise PruningError(f"{name}: its weights are not finite. The file is damaged.")


def _check_something_goes(selection: Selection) -> None:
    if len(selection.tags) == 0:
        raise PruningError(
            f"nothing was removed: {selection.budget.say(selection.asked)} is less than the "
            "rounding leaves in every layer. Ask for more, or lower --round-to and --min-channels."
        )


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
