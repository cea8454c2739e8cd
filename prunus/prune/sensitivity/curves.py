"""What the points say: where each group's cliff is, and what each further channel costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from prunus.core.console import table
from prunus.prune.sensitivity.record import Record, curves_of


@dataclass(frozen=True)
class Cliff:
    """How far a group can be cut.

    Attributes:
        group: Its name.
        channels: How many it has.
        ratios: Shares of the channels that were removed, rising.
        drops: What was lost there, as shares of the dense score.
        filled: How many of the last ones were filled in: the score was at the floor before.
        safe: Largest ratio before the drop exceeds the tolerance, between the measured ratios by
            a straight line.
        steepest: The two ratios between which most is lost per channel.
    """

    group: str
    channels: int
    ratios: tuple[float, ...]
    drops: tuple[float, ...]
    filled: int
    safe: float
    steepest: tuple[float, float]


def cliffs(record: Record, max_drop: float) -> list[Cliff]:
    """Return the cliff of each group that has points, the most sensitive group first.

    Args:
        record: What was measured.
        max_drop: Tolerance: share of the dense score.
    """
    found = []
    for group, curve in curves_of(record).items():
        ratios, drops = _monotone(curve)
        ratios, drops = ratios[:-1], drops[:-1] / record.header.dense  # the end is not measured
        fastest = int((np.diff(drops) / np.diff(ratios)).argmax())
        found.append(
            Cliff(
                group=group,
                channels=len(record.header.order[group]),
                ratios=tuple(ratio for ratio, _ in curve[1:-1]),
                drops=tuple(drop / record.header.dense for _, drop in curve[1:-1]),
                filled=sum(p.filled for p in record.points.values() if p.group == group),
                safe=_crossing(ratios, drops, max_drop),
                steepest=(float(ratios[fastest]), float(ratios[fastest + 1])),
            )
        )
    return sorted(found, key=lambda cliff: (cliff.safe, -cliff.drops[0]))


def damage_curves(
    curves: Mapping[str, Sequence[tuple[float, float]]], channels: Mapping[str, int]
) -> dict[str, Tensor]:
    """Return what is lost by removing each number of channels.

    Straight lines between the measured points. A drop below an earlier one is the judge's noise and
    is raised to it, a gain to 0.

    Args:
        curves: As `record.read_sensitivity` returns them.
        channels: How many each group has.

    Returns:
        For each group (n + 1,) float64, from 0, never falling, in the units of the drops.
    """
    lost = {}
    for name, curve in curves.items():
        ratios, drops = _monotone(curve)
        counts = np.arange(channels[name] + 1) / channels[name]
        lost[name] = torch.from_numpy(np.interp(counts, ratios, drops))
    return lost


def cliff_table(found: Sequence[Cliff], max_drop: float, lost: str) -> str:
    """Return the cliffs as text: what is lost at each ratio, how far is safe, the steepest fall.

    Args:
        found: The most sensitive group first.
        max_drop: Tolerance, as a share of the dense score.
        lost: What the drops are.
    """
    grid = ratio_grid(found)
    rows = [
        (
            short_name(cliff.group),
            cliff.channels,
            *_cells(cliff, grid),
            f"{cliff.safe:.0%}",
            f"{cliff.steepest[0]:.1%} to {cliff.steepest[1]:.1%}",
        )
        for cliff in found
    ]
    header = ("group", "channels", *(f"-{ratio:.1%}" for ratio in grid), "safe", "steepest fall")
    title = (
        f"{lost}, per share of one group's channels removed; the most sensitive group first\n"
        f"safe: at most {max_drop:.1%} is lost (between ratios by a straight line); "
        "-: not measured, the floor was reached before"
    )
    return table(title, header, rows)


def ratio_grid(found: Sequence[Cliff]) -> tuple[float, ...]:
    """Return the ratios of the group that comes closest to those asked: the widest one."""
    return max(found, key=lambda cliff: (len(cliff.ratios), cliff.channels)).ratios


def on_grid(cliff: Cliff, grid: Sequence[float]) -> list[float]:
    """Return the drops at the ratios of a grid, as shares of the dense score."""
    return [float(drop) for drop in np.interp(grid, (0.0, *cliff.ratios), (0.0, *cliff.drops))]


def short_name(group: str) -> str:
    """Return the first layer of a group, and how many others it has."""
    first, *others = group.split("+")
    return f"{first} +{len(others)}" if others else first


def _cells(cliff: Cliff, grid: Sequence[float]) -> list[str | None]:
    return [
        None if is_filled(cliff, ratio) else f"{drop:.1%}"
        for ratio, drop in zip(grid, on_grid(cliff, grid), strict=True)
    ]


def is_filled(cliff: Cliff, ratio: float) -> bool:
    """Return whether the floor was reached at a smaller ratio than this."""
    measured = len(cliff.ratios) - cliff.filled
    return ratio > cliff.ratios[measured - 1] and cliff.filled > 0


def _monotone(curve: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    ratios, drops = np.array(curve, dtype=np.float64).T
    return ratios, np.maximum.accumulate(drops.clip(min=0))


def _crossing(ratios: np.ndarray, drops: np.ndarray, most: float) -> float:
    """Return where a rising line of straight pieces first exceeds a height."""
    above = np.flatnonzero(drops > most)
    if not len(above):
        return float(ratios[-1])
    right = int(above[0])
    left = right - 1
    share = (most - drops[left]) / (drops[right] - drops[left])
    return float(ratios[left] + share * (ratios[right] - ratios[left]))
