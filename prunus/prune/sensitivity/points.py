"""One measurement after another: mask a share of a group's channels, judge, restore.

Groups are judged one at a time, in a network that is otherwise whole: two groups that are harmless
alone may not be so together.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunus.core.console import track
from prunus.core.errors import PruningError
from prunus.model.channels.table import ChannelGroup, ChannelTable
from prunus.prune.surgery import mask_, named_tensors

Judge = Callable[[nn.Module], float]
"""Network -> how good it is; higher is better, 0 is worthless."""


@dataclass(frozen=True)
class Point:
    """What is left of a network's score without some channels of one group.

    Attributes:
        group: Name of the group.
        removed: How many of its channels went.
        channels: How many it has.
        score: What the judge said.
        filled: Not measured: with fewer channels removed the score was already at the floor.
    """

    group: str
    removed: int
    channels: int
    score: float
    filled: bool = False

    @property
    def ratio(self) -> float:
        """Return the share of the group's channels that went."""
        return self.removed / self.channels

    @property
    def key(self) -> tuple[str, int]:
        return self.group, self.removed


def measure(
    model: nn.Module,
    table: ChannelTable,
    order: Mapping[str, Tensor],
    judge: Judge,
    *,
    ratios: Sequence[float],
    worthless: float,
    known: Iterable[Point] = (),
) -> Iterator[Point]:
    """Yield every point that is missing, the small ratios of all groups first.

    Channels are masked, which computes what a network without them would. The network is changed
    only while it is judged.

    Args:
        model: The network that `table` was traced from, or the same with its batch norms folded.
        table: Its channels.
        order: For each group to measure, (n,) indices of its channels, the first to go first.
        judge: How good a network is.
        ratios: Shares in (0, 1) to remove; in small groups several may be the same channels.
        worthless: Score at or below which a group's higher ratios are filled in.
        known: Points measured before.

    Raises:
        PruningError: `order` does not fit the groups.
    """
    groups = _ordered_groups(table, order)
    wanted = planned(order, ratios)
    last: dict[str, Point] = {}
    have = {point.key: point for point in known}
    for name, removed in track(wanted, "measuring sensitivity"):
        point = have.get((name, removed))
        if point is None:
            point = _filled(last.get(name), removed, worthless)
            if point is None:
                tags = groups[name].tags[order[name][:removed]]
                with masked(model, table, groups[name], tags):
                    score = judge(model)
                point = Point(name, removed, len(groups[name]), _finite(score))
            yield point
        last[name] = point


def planned(order: Mapping[str, Tensor], ratios: Sequence[float]) -> list[tuple[str, int]]:
    """Return (group, channels to remove) of every point, the small ratios of all groups first.

    At least one channel goes and one stays; groups of one channel have no points.
    """
    wanted = [
        (name, min(max(round(ratio * len(channels)), 1), len(channels) - 1))
        for ratio in sorted(ratios)
        for name, channels in order.items()
        if len(channels) > 1
    ]
    return list(dict.fromkeys(wanted))


@contextmanager
def masked(
    model: nn.Module, table: ChannelTable, group: ChannelGroup, tags: Tensor
) -> Iterator[None]:
    """While open, all that these channels of a group hold in the network is zero."""
    tensors = named_tensors(model)
    before = {slot.tensor: tensors[slot.tensor].detach().clone() for slot in group.slots}
    mask_(model, table, tags)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, tensor in before.items():
                tensors[name].copy_(tensor)


def _ordered_groups(table: ChannelTable, order: Mapping[str, Tensor]) -> dict[str, ChannelGroup]:
    groups = {group.name: group for group in table.free_groups}
    if not planned(order, (0.5,)):
        raise PruningError("sensitivity: no group of two or more channels that may go.")
    for name, channels in order.items():
        if name not in groups:
            raise PruningError(f"{name}: no group of this network whose channels may go.")
        if channels.sort().values.tolist() != list(range(len(groups[name]))):
            raise PruningError(
                f"{name}: its order must name each of its {len(groups[name])} channels once."
            )
    return groups


def _filled(last: Point | None, removed: int, worthless: float) -> Point | None:
    if last is None or last.score > worthless:
        return None
    return Point(last.group, removed, last.channels, last.score, filled=True)


def _finite(score: float) -> float:
    """A network whose outputs are not finite is worth nothing."""
    return score if math.isfinite(score) else 0.0
