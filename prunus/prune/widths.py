"""The widths that a group of layers may have, and why it has no smaller one."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prunus.model.channels.table import ChannelGroup
from prunus.prune.damage import Damage

ROUND_OFF = 1e-7
"""Of shares and costs: 0.7 x 10 channels are 7, not 7.0000001."""


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
        least = max(self.least, self.multiple, 1)
        return min(size, -(-least // self.multiple) * self.multiple)

    def widths(self, size: int) -> tuple[int, ...]:
        """Return the allowed widths of a layer of `size`, ascending; `size` is the last."""
        return (*range(self.floor(size), size, self.multiple), size)


EIGHTS = Rounding()


@dataclass(frozen=True)
class Choice:
    """A group of layers whose width is to be chosen.

    Attributes:
        group: Its channels.
        damage: What it loses.
        allowed: Widths, ascending; all of its channels are the last one.
        limit: Why there is no width below the first one.
    """

    group: ChannelGroup
    damage: Damage
    allowed: tuple[int, ...]
    limit: str

    @property
    def size(self) -> int:
        """Return how many channels there are."""
        return len(self.group)

    @property
    def weight(self) -> float:
        """Return how many filters go with one channel, on average."""
        return float(self.group.filters_per_channel().float().mean())


def choice(
    group: ChannelGroup,
    damage: Damage,
    rounding: Rounding,
    *,
    max_share: float | None = None,
    widths: Mapping[str, Sequence[int]] | None = None,
) -> Choice:
    """Return what a group may become.

    Args:
        group: A free one.
        damage: Its own.
        rounding: Its floor always holds; its multiples where `widths` has no entry.
        max_share: No more than this share of the channels goes; None for no such limit.
        widths: Allowed widths by group name.
    """
    size, floor = len(group), rounding.floor(len(group))
    wanted = (widths or {}).get(group.name)
    every = rounding.widths(size) if wanted is None else (*wanted, size)
    allowed = sorted({width for width in every if floor <= width <= size})
    limit = f"no layer keeps fewer than {floor}"
    if size == floor:
        limit = f"has only {size} channels"
    elif allowed[0] > floor:
        limit = f"no width below {allowed[0]} is allowed"
    if max_share is not None:
        least = math.ceil(size * (1 - max_share) - ROUND_OFF)
        if least > allowed[0]:
            limit = f"at most {max_share:.0%} of a layer may go"
            allowed = [width for width in allowed if width >= least]
    return Choice(group, damage, tuple(allowed), limit)


def nearest(allowed: Sequence[int], wanted: float) -> int:
    """Return the allowed width nearest to `wanted`; of two equally near ones the larger.

    Args:
        allowed: Ascending, at least one.
        wanted: Any number of channels.
    """
    place = bisect_left(allowed, wanted)
    if place in (0, len(allowed)):
        return allowed[0] if place == 0 else allowed[-1]
    lower, upper = allowed[place - 1], allowed[place]
    return upper if upper - wanted <= wanted - lower else lower
