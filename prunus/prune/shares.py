"""Widths for a share of the channels: one threshold for the whole network, or one share for each.

The threshold is on the damage of one more channel.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from prunus.prune.widths import Choice, nearest


def threshold(choices: Sequence[Choice], share: float) -> list[float]:
    """Return the widths below one threshold for all, before rounding.

    The threshold is moved until the share that goes after rounding is as near to `share` as it can
    be.

    Args:
        choices: At least one.
        share: Of the channels, to remove; one that several layers make counts that often.
    """
    sizes = [choice.size for choice in choices]
    owners = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    order = torch.cat([_steps(choice.damage.lost) for choice in choices]).argsort(stable=True)
    ranked = owners[order]

    def widths(count: int) -> list[float]:
        gone = ranked[:count].bincount(minlength=len(sizes)).tolist()
        return [float(size - lost) for size, lost in zip(sizes, gone, strict=True)]

    def achieved(count: int) -> float:
        return removed_share(choices, rounded(choices, widths(count)))

    count = _crossing(achieved, len(ranked), share)
    below = max(count - 1, 0)
    return widths(count if achieved(count) - share <= share - achieved(below) else below)


def rounded(choices: Sequence[Choice], wanted: Sequence[float]) -> list[int]:
    """Return the allowed widths nearest to those that are wanted."""
    return [nearest(choice.allowed, width) for choice, width in zip(choices, wanted, strict=True)]


def removed_share(choices: Sequence[Choice], kept: Sequence[int]) -> float:
    """Return the share of the channels that goes, each counted as often as layers make it."""
    weights = [choice.weight for choice in choices]
    total = sum(choice.size * weight for choice, weight in zip(choices, weights, strict=True))
    gone = (choice.size - width for choice, width in zip(choices, kept, strict=True))
    return sum(lost * weight for lost, weight in zip(gone, weights, strict=True)) / total


def _crossing(rising: Callable[[int], float], most: int, goal: float) -> int:
    """Return the least number up to `most` that takes a rising function to `goal`, or `most`."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if rising(middle) >= goal else (middle + 1, high)
    return low


def _steps(lost: Tensor) -> Tensor:
    """Return (n,) what each further channel adds: the slopes of the lower convex envelope.

    A channel cannot go before those that go first, so where one adds less than the one before it,
    they go together and share what they add.
    """
    pools: list[tuple[float, int]] = []  # (sum, count) of neighbours that go together
    for step in lost.diff().tolist():
        total, count = step, 1
        while pools and pools[-1][0] * count > total * pools[-1][1]:
            total, count = total + pools[-1][0], count + pools[-1][1]
            pools.pop()
        pools.append((total, count))
    means = torch.tensor([total / count for total, count in pools], dtype=torch.float64)
    return means.repeat_interleave(torch.tensor([count for _, count in pools], dtype=torch.int64))
