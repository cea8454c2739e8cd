"""The picture of a measurement: a map of groups by ratio, and every group's curve beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prunus.core.files import write_atomically
from prunus.prune.sensitivity.curves import Cliff, is_filled, on_grid, ratio_grid, short_name

NAMED = 5
"""Groups whose curves are named: this many of the most and of the least sensitive."""
ROW_INCHES, MARGIN_INCHES, WIDTH_INCHES, LEAST_INCHES = 0.21, 1.7, 17.0, 6.0
DOTS_PER_INCH = 110
PER_CENT = "{x:.0%}"
GAMMA = 0.5
"""Colours follow the drop's square root: what matters for pruning are the small drops."""
GREY, CLIFF = "0.8", "deepskyblue"


def plot(path: Path, found: Sequence[Cliff], max_drop: float, lost: str) -> None:
    """Write a PNG.

    Args:
        path: Where to.
        found: The most sensitive group first.
        max_drop: Tolerance, as a share of the dense score.
        lost: What the drops are.
    """
    from matplotlib.figure import Figure  # late: matplotlib takes 0.3 s to import

    height = max(LEAST_INCHES, MARGIN_INCHES + ROW_INCHES * len(found))
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DOTS_PER_INCH, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    _draw_map(figure, left, found, lost)
    _draw_curves(right, found, max_drop, lost)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))


def _draw_map(figure: Any, axes: Any, found: Sequence[Cliff], lost: str) -> None:
    from matplotlib.colors import PowerNorm

    grid = ratio_grid(found)
    shares = [[min(max(drop, 0), 1) for drop in on_grid(cliff, grid)] for cliff in found]
    image = axes.imshow(
        shares, aspect="auto", cmap="magma_r", norm=PowerNorm(GAMMA, 0, 1), interpolation="nearest"
    )
    rows = range(len(found))
    steps = np.interp([cliff.safe for cliff in found], (0.0, *grid), range(-1, len(grid)))
    axes.vlines(steps.clip(-0.45), [y - 0.5 for y in rows], [y + 0.5 for y in rows], CLIFF, lw=2)
    for y, cliff in enumerate(found):
        for x, ratio in enumerate(grid):
            if is_filled(cliff, ratio):
                axes.text(x, y, "not measured", color="w", fontsize=6, ha="center", va="center")
    names = [f"{short_name(cliff.group)}  ({cliff.channels})" for cliff in found]
    axes.set_yticks(rows, names, fontsize=8)
    axes.set_xticks(range(len(grid)), [f"{ratio:.1%}" for ratio in grid], fontsize=8)
    axes.set_xlabel("share of the group's channels removed")
    axes.set_title("the most sensitive group on top (channels); blue: the cliff", fontsize=10)
    bar = figure.colorbar(image, ax=axes, location="bottom", pad=0.01, aspect=40, format=PER_CENT)
    bar.set_label(f"{lost} (from 100 % on: black)")


def _draw_curves(axes: Any, found: Sequence[Cliff], max_drop: float, lost: str) -> None:
    from matplotlib import colormaps

    named = min(NAMED, len(found) // 2)
    last = len(found) - named
    for rank, cliff in enumerate(found):
        line = (0.0, *cliff.ratios), (0.0, *cliff.drops)
        if named <= rank < last:
            axes.plot(*line, color=GREY, linewidth=0.8, zorder=1)
            continue
        shade, place = ("autumn", rank) if rank < named else ("winter", rank - last)
        colour = colormaps[shade](place / max(named, 1))
        name = f"{short_name(cliff.group)}: safe to {cliff.safe:.0%}"
        axes.plot(*line, color=colour, marker="o", markersize=3, label=name, zorder=2)
    axes.axhline(max_drop, color="0.3", linestyle="--", linewidth=1)
    axes.annotate(
        f"{max_drop:.0%}",
        (1, max_drop),
        xytext=(-4, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8,
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.06, 1.05)
    axes.xaxis.set_major_formatter(PER_CENT)
    axes.yaxis.set_major_formatter(PER_CENT)
    axes.set_xlabel("share of the group's channels removed")
    axes.set_ylabel(lost)
    axes.set_title("the most sensitive (warm) and the least (cold); others grey", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
