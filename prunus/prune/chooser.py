"""What one pruning removes: the channels of a table, by its settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.probe import Inputs
from prunus.model.channels.rules import Rule
from prunus.model.channels.table import ChannelGroup, ChannelTable
from prunus.model.channels.trace import trace
from prunus.prune.budget import Budget, Scope
from prunus.prune.costs import Costs, Pricing, flops_costs, params_costs
from prunus.prune.criteria import CRITERIA, WITH_IMAGES, find_criterion
from prunus.prune.criteria.members import Criterion
from prunus.prune.damage import Damage, from_scores
from prunus.prune.evidence import Calibration, Evidence, Observation
from prunus.prune.observe.observation import observe
from prunus.prune.proof import Proved
from prunus.prune.repair.carrier import PAYS, Carried, carry_constants_, reserve, worth
from prunus.prune.repair.choose import Method
from prunus.prune.repair.constants import Fold, fold_constants_
from prunus.prune.selection import Selection, protected_by, select
from prunus.prune.surgery import named_tensors
from prunus.prune.widths import Rounding


@dataclass
class Chooser:
    """Table -> the channels to remove; remembers what it chose for each table that it saw.

    Its fields are the settings of `run.prune`, which explains them and holds their defaults.

    Attributes:
        chosen: What it chose, the last for the network that was cut.
        reserved: Group -> the channel that is its carrier, of the last choice.

    Raises:
        PruningError: Weights are not finite, there is not exactly one budget, or no such criterion.
    """

    model: nn.Module
    example_inputs: Inputs
    percent: float | None
    params: float | None
    flops: float | None
    latency_ms: float | None
    criterion: str | Criterion
    scope: Scope
    round_to: int
    min_channels: int
    max_layer_percent: float | None
    keep: Sequence[str]
    calibration: Calibration | None
    repair: Method
    carriers: bool
    loss_curves: Mapping[str, Tensor] | None
    pricing: Pricing | None
    cost_inputs: Inputs | None
    rules: Mapping[str, Rule]
    seed: int
    chosen: list[Selection] = field(default_factory=list, init=False)
    reserved: Mapping[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        _check_finite(self.model)
        self.budget = _budget(
            percent=self.percent, params=self.params, flops=self.flops, latency=self.latency_ms
        )
        self._rank = find_criterion(self.criterion, self.calibration)
        self._rounding = Rounding(self.round_to, self.min_channels)

    def __call__(self, table: ChannelTable) -> Tensor:
        groups = [group for group in table.free_groups if not protected_by(group, self.keep)]
        evidence = Evidence(self.model, table, self.calibration, self.seed, self.observation)
        pricing = self.pricing
        scores = self._rank(groups, evidence)
        selection = select(
            _damage(groups, scores, self.loss_curves),
            table,
            budget=self.budget,
            scope=self.scope,
            costs=self._costs(table),
            rounding=self._rounding,
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
        extra = self._rounding.multiple == 1
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
        needed = self.repair == "ridge" or self._rank is CRITERIA[WITH_IMAGES]
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
        return flops_costs(
            self.model,
            table,
            self.example_inputs if self.cost_inputs is None else self.cost_inputs,
        )


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
