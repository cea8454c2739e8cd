"""Which channels go: a share of all that may, in widths that run fast, and no layer emptied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from prunus.core.errors import PruningError
from prunus.model.channels.table import ChannelGroup, ChannelTable

Scope = Literal["global", "layer"]
"""Compare channels of the whole network, or take the same share of each layer."""


@dataclass(frozen=True)
class Width:
    """The width of one group of layers, before and after.

    Attributes:
        name: The layers, joined by "+".
        before: Channels that they make.
        after: Channels that they keep.
        reason: Why they keep more than was asked, or "".
    """

    name: str
    before: int
    after: int
    reason: str = ""


@dataclass(frozen=True)
class Selection:
    """What goes.

    Attributes:
        tags: (R,) channels to remove, as `ChannelTable` names them.
        widths: Every group of layers, in the network's order.
        asked: Share of the prunable channels that was asked for.
        achieved: Share that goes, after rounding and clamping.
    """

    tags: Tensor
    widths: tuple[Width, ...]
    asked: float
    achieved: float

    @property
    def clamped(self) -> tuple[Width, ...]:
        """Return the layers that keep more than was asked."""
        return tuple(width for width in self.widths if width.reason)


@dataclass(frozen=True)
class Rounding:
    """Which widths are allowed.

    Attributes:
        multiple: Kept channels are a multiple of this (or all of them).
        least: No layer keeps fewer, unless it has fewer.
    """

    multiple: int = 8
    least: int = 8

    def floor(self, size: int) -> int:
        """Return the fewest channels that a layer of `size` may keep."""
        least = max(self.least, self.multiple)
        return min(size, -(-least // self.multiple) * self.multiple)

    def kept(self, size: int, wanted: float) -> int:
        """Return the allowed width nearest to `wanted`; of two equally near ones the larger."""
        lower = int(wanted) // self.multiple * self.multiple
        upper = min(lower + self.multiple, size)
        nearest = upper if upper - wanted <= wanted - lower else lower
        return max(nearest, self.floor(size))


def select(
    scores: Mapping[str, Tensor],
    table: ChannelTable,
    *,
    percent: float,
    scope: Scope = "global",
    round_to: int = 8,
    min_channels: int = 8,
    keep: Sequence[str] = (),
) -> Selection:
    """Choose the channels of the lowest scores.

    A channel that several layers make counts as often as filters go with it, so that a share of the
    channels is a share of what a reader sees in the table of widths. Globally, the threshold is
    moved until the share after rounding is as near to the one asked for as it can be.

    Args:
        scores: By group name, (n,) finite; every free group that is not kept needs one.
        table: The network's channels.
        percent: Share of the prunable channels to remove, in (0, 1).
        scope: "global" or "layer".
        round_to: Kept channels are a multiple of this.
        min_channels: No layer keeps fewer.
        keep: Paths of modules (such as "model.3") whose layers keep all their channels.

    Raises:
        PruningError: `percent` is no share, or nothing at all may be removed.
    """
    if not 0 < percent < 1:
        raise PruningError(f"percent: must lie between 0 and 1, got {percent}. 0.5 removes half.")
    chosen = [group for group in table.free_groups if not _is_kept(group, keep)]
    if not chosen:
        raise PruningError("no channel may be removed: every layer is an output, pinned or kept.")
    rounding = Rounding(round_to, min_channels)
    if scope == "global":
        wanted = _global_widths(chosen, scores, percent, rounding)
    else:
        wanted = [len(group) * (1 - percent) for group in chosen]
    kept = [rounding.kept(len(group), width) for group, width in zip(chosen, wanted, strict=True)]
    return _selection(table, chosen, scores, wanted, kept, percent, rounding)


def protected_by(group: ChannelGroup, keep: Sequence[str]) -> str:
    """Return the entry of `keep` that one of the group's layers lies in, or ""."""
    modules = [slot.module for slot in group.slots_of("filter")]
    for path in keep:
        if any(module == path or module.startswith(f"{path}.") for module in modules):
            return path
    return ""


def _is_kept(group: ChannelGroup, keep: Sequence[str]) -> bool:
    return bool(protected_by(group, keep))


def _global_widths(
    groups: Sequence[ChannelGroup],
    scores: Mapping[str, Tensor],
    percent: float,
    rounding: Rounding,
) -> list[float]:
    """Return the widths below one threshold for all, before rounding."""
    sizes = [len(group) for group in groups]
    owners = torch.repeat_interleave(torch.arange(len(groups)), torch.tensor(sizes))
    order = torch.cat([scores[group.name] for group in groups]).argsort(stable=True)
    ranked = owners[order]
    weights = [_weight(group) for group in groups]
    total = sum(size * weight for size, weight in zip(sizes, weights, strict=True))

    def widths(count: int) -> list[float]:
        gone = ranked[:count].bincount(minlength=len(groups)).tolist()
        return [float(size - lost) for size, lost in zip(sizes, gone, strict=True)]

    def achieved(count: int) -> float:
        left = (
            rounding.kept(size, width) * weight
            for size, width, weight in zip(sizes, widths(count), weights, strict=True)
        )
        return 1 - sum(left) / total

    low, high = 0, len(ranked)  # the share rises with the count: halve until it crosses `percent`
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if achieved(middle) >= percent else (middle + 1, high)
    below = max(low - 1, 0)
    return widths(low if achieved(low) - percent <= percent - achieved(below) else below)


def _weight(group: ChannelGroup) -> float:
    """Return how many filters go with one channel, on average."""
    return float(group.filters_per_channel().float().mean())


def _selection(
    table: ChannelTable,
    chosen: Sequence[ChannelGroup],
    scores: Mapping[str, Tensor],
    wanted: Sequence[float],
    kept: Sequence[int],
    percent: float,
    rounding: Rounding,
) -> Selection:
    removed: list[Tensor] = []
    after: dict[str, Width] = {}
    for group, wish, width in zip(chosen, wanted, kept, strict=True):
        size = len(group)
        order = scores[group.name].argsort(stable=True)
        removed.append(group.tags[order[: size - width]])
        after[group.name] = Width(group.name, size, width, _reason(size, wish, width, rounding))
    widths = tuple(
        after.get(group.name) or Width(group.name, len(group), len(group), group.frozen or "kept")
        for group in table.groups
    )
    weights = [_weight(group) for group in chosen]
    lost = sum(
        (len(group) - width) * weight
        for group, width, weight in zip(chosen, kept, weights, strict=True)
    )
    total = sum(len(group) * weight for group, weight in zip(chosen, weights, strict=True))
    return Selection(torch.cat(removed), widths, percent, lost / total)


def _reason(size: int, wanted: float, kept: int, rounding: Rounding) -> str:
    floor = rounding.floor(size)
    if kept > floor or wanted >= floor:
        return ""
    if size == floor:
        return f"has only {size} channels"
    return f"{wanted:.0f} wanted, but no layer keeps fewer than {floor}"
