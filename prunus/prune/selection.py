"""Which channels go: within a budget, in widths that run fast, and no layer emptied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from prunus.core.console import table as as_table
from prunus.core.errors import PruningError
from prunus.model.channels.table import ChannelGroup, ChannelTable
from prunus.prune.budget import Budget, Scope
from prunus.prune.costs import Costs
from prunus.prune.damage import Damage
from prunus.prune.descent import least_loss, one_ratio
from prunus.prune.shares import removed_share, rounded, threshold
from prunus.prune.widths import EIGHTS, ROUND_OFF, Choice, Rounding, Width, choice

__all__ = ["Budget", "Rounding", "Scope", "Selection", "Width", "protected_by", "select"]


@dataclass(frozen=True)
class Selection:
    """What goes.

    Attributes:
        tags: (R,) channels to remove, as `ChannelTable` names them.
        widths: Every group of layers, in the network's order.
        asked: The budget's goal.
        achieved: What is reached, in the goal's unit, after rounding and clamping.
        budget: What was asked for.
        predicted: What the network costs before and after; None without costs.
        apart: Parameters that hold nothing of any group, and why.
        shortfall: Why the budget is not kept, or "".
    """

    tags: Tensor
    widths: tuple[Width, ...]
    asked: float
    achieved: float
    budget: Budget
    predicted: tuple[float, float] | None = None
    apart: Mapping[str, str] = field(default_factory=dict)
    shortfall: str = ""

    def summary(self) -> str:
        """Return what was asked for and what was reached, in one line."""
        done = "removed" if self.budget.kind == "percent" else "kept"
        words = f"{self.budget.say(self.achieved)} {done} ({self.budget.say(self.asked)} asked)"
        return f"{words}: {self.shortfall}" if self.shortfall else words

    def table(self) -> str:
        """Return the widths before and after, and why layers keep what they keep, as text."""
        rows = [
            (
                width.name,
                width.before,
                width.after,
                f"{width.after / width.before:.0%}",
                width.reason,
            )
            for width in self.widths
        ]
        shown = as_table(self.summary(), ("layers", "before", "after", "kept", "why"), rows)
        apart = [f"{name}: stays as it is, {why}" for name, why in self.apart.items()]
        return "\n".join((shown, *apart))

    @property
    def clamped(self) -> tuple[Width, ...]:
        """Return the layers that keep more than was asked, or as few as they may."""
        return tuple(width for width in self.widths if width.reason)


def select(  # noqa: PLR0913  one argument a rule that the widths obey
    damage: Mapping[str, Damage],
    table: ChannelTable,
    *,
    budget: Budget,
    scope: Scope = "global",
    costs: Costs | None = None,
    rounding: Rounding = EIGHTS,
    max_layer_percent: float | None = None,
    keep: Sequence[str] = (),
    widths: Mapping[str, Sequence[int]] | None = None,
) -> Selection:
    """Choose how many channels each group of layers loses, and which.

    Under a budget of channels (percent), one that several layers make counts as often as filters go
    with it, so that a share of the channels is a share of what a reader sees in the table of
    widths. Globally, a threshold on the damage of one more channel is moved until the share after
    rounding is as near to the one asked for as it can be. Under a budget of costs, the least damage
    that keeps within it is looked for (`descent`).

    Args:
        damage: By group name; every free group that is not kept needs one.
        table: The network's channels.
        budget: How far to go.
        scope: "global", or "layer": the same share of each layer.
        costs: What the network costs, in the budget's unit; percent does without.
        rounding: Which widths are allowed, for groups that `widths` does not name.
        max_layer_percent: No layer loses more than this share of its channels, in (0, 1).
        keep: Paths of modules (such as "model.3") whose layers keep all their channels.
        widths: Allowed widths by group name, such as those that a runtime is efficient at.

    Raises:
        PruningError: A number makes no sense, or nothing at all may be removed.
        ValueError: A budget of costs without costs.
    """
    if max_layer_percent is not None and not 0 < max_layer_percent < 1:
        raise PruningError(
            f"max_layer_percent: must lie between 0 and 1, got {max_layer_percent:g}. "
            "0.8 takes at most 80 % of any layer."
        )
    choices = [
        choice(group, damage[group.name], rounding, max_share=max_layer_percent, widths=widths)
        for group in table.free_groups
        if not protected_by(group, keep)
    ]
    if not choices:
        raise PruningError("no channel may be removed: every layer is an output, pinned or kept.")
    if budget.kind == "percent":
        return _by_share(choices, table, budget, scope, costs)
    if costs is None:
        raise ValueError(f"a budget of {budget.kind} needs costs")
    return _by_cost(choices, table, budget, scope, costs)


def protected_by(group: ChannelGroup, keep: Sequence[str]) -> str:
    """Return the entry of `keep` that one of the group's layers lies in, or ""."""
    modules = [slot.module for slot in group.slots_of("filter")]
    for path in keep:
        if any(module == path or module.startswith(f"{path}.") for module in modules):
            return path
    return ""


def _by_share(
    choices: Sequence[Choice],
    table: ChannelTable,
    budget: Budget,
    scope: Scope,
    costs: Costs | None,
) -> Selection:
    if scope == "global":
        wanted = threshold(choices, budget.goal)
    else:
        wanted = [choice.size * (1 - budget.goal) for choice in choices]
    kept = rounded(choices, wanted)
    reasons = [
        _short_of(choice, wish, width)
        for choice, wish, width in zip(choices, wanted, kept, strict=True)
    ]
    achieved = removed_share(choices, kept)
    at_floor = all(width == choice.allowed[0] for choice, width in zip(choices, kept, strict=True))
    predicted = None
    if costs is not None:
        predicted = (costs.total({}), costs.total(_by_name(choices, kept)))
    return Selection(
        _tags(choices, kept),
        _widths(table, choices, kept, reasons),
        budget.goal,
        achieved,
        budget,
        predicted,
        table.apart,
        _shortfall(budget, achieved) if at_floor and achieved < budget.goal else "",
    )


def _by_cost(
    choices: Sequence[Choice], table: ChannelTable, budget: Budget, scope: Scope, costs: Costs
) -> Selection:
    dense = costs.total({})
    limit = budget.allowed(dense)
    choose = least_loss if scope == "global" else one_ratio
    kept = choose(choices, costs, limit)
    cost = costs.total(_by_name(choices, kept))
    achieved = budget.achieved(dense, cost)
    reasons = [
        f"as narrow as it may be: {choice.limit}" if width == choice.allowed[0] else ""
        for choice, width in zip(choices, kept, strict=True)
    ]
    return Selection(
        _tags(choices, kept),
        _widths(table, choices, kept, reasons),
        budget.goal,
        achieved,
        budget,
        (dense, cost),
        table.apart,
        _shortfall(budget, achieved) if cost > limit * (1 + ROUND_OFF) else "",
    )


def _shortfall(budget: Budget, achieved: float) -> str:
    return (
        f"{budget.say(budget.goal)} asked, {budget.say(achieved)} reached: every layer is kept "
        "or as narrow as it may be"
    )


def _short_of(choice: Choice, wanted: float, kept: int) -> str:
    """Return why a layer keeps more than its share, or ""."""
    if kept > choice.allowed[0] or wanted >= kept:
        return ""
    if len(choice.allowed) == 1:
        return choice.limit
    return f"{wanted:.0f} wanted, but {choice.limit}"


def _by_name(choices: Sequence[Choice], kept: Sequence[int]) -> dict[str, int]:
    return {choice.group.name: width for choice, width in zip(choices, kept, strict=True)}


def _tags(choices: Sequence[Choice], kept: Sequence[int]) -> Tensor:
    return torch.cat(
        [
            choice.group.tags[choice.damage.order[: choice.size - width]]
            for choice, width in zip(choices, kept, strict=True)
        ]
    )


def _widths(
    table: ChannelTable, choices: Sequence[Choice], kept: Sequence[int], reasons: Sequence[str]
) -> tuple[Width, ...]:
    after = {
        choice.group.name: Width(choice.group.name, choice.size, width, reason)
        for choice, width, reason in zip(choices, kept, reasons, strict=True)
    }
    return tuple(
        after.get(group.name) or Width(group.name, len(group), len(group), group.frozen or "kept")
        for group in table.groups
    )
