"""The pictures of a training: its losses and metrics over the epochs, and what the labels are."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunus.core.files import write_atomically
from prunus.evaluate.plots import literal

DOTS_PER_INCH = 100
NAMED = 40
"""Up to so many classes have their names under their bars."""
MOST_DOTS = 20_000
"""Boxes that are drawn; of more, so many evenly spaced ones."""
BLUE, ORANGE = "C0", "C1"

Row = Mapping[str, float | None]


def plot_training(path: Path, rows: Sequence[Row], best_epoch: int) -> None:
    """Write a PNG of losses and metrics over the epochs, which are counted from 1 as in the log.

    Args:
        path: Where to.
        rows: Rows of results.csv, by epoch; None where an epoch was not validated.
        best_epoch: Marked with a line; counted from 0.
    """
    from matplotlib.figure import Figure  # late: matplotlib takes 0.3 s to import

    panels = (
        ("box loss", ("train/box_loss", "val/box_loss")),
        ("objectness loss", ("train/obj_loss", "val/obj_loss")),
        ("class loss", ("train/cls_loss", "val/cls_loss")),
        ("precision and recall", ("metrics/precision", "metrics/recall")),
        ("mAP", ("metrics/mAP_0.5", "metrics/mAP_0.5:0.95")),
        ("learning rate", ("x/lr0", "x/lr1")),
    )
    figure = Figure(figsize=(13, 7), dpi=DOTS_PER_INCH, layout="constrained")
    for axes, (title, columns) in zip(figure.subplots(2, 3).flat, panels, strict=True):
        for column in columns:
            points = [
                (number, row[column])
                for number, row in enumerate(rows, start=1)
                if row.get(column) is not None
            ]
            epochs, values = zip(*points, strict=True) if points else ((), ())
            axes.plot(epochs, values, marker=".", markersize=3, label=column)
        axes.axvline(best_epoch + 1, color="0.5", linestyle="--", linewidth=1)
        axes.set(title=title, xlabel="epoch")
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    figure.suptitle(f"dashed: the best epoch, {best_epoch + 1}")
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))


def plot_labels(path: Path, boxes: NDArray[np.float32], names: Sequence[str]) -> None:
    """Write a PNG of how many boxes each class has, where they lie and how large they are.

    Args:
        path: Where to.
        boxes: (M, 5) class, centre x, centre y, width, height; the last four as shares.
        names: Of all classes.
    """
    from matplotlib.figure import Figure

    counts = np.bincount(boxes[:, 0].astype(int), minlength=len(names))
    figure = Figure(figsize=(13, 4.6), dpi=DOTS_PER_INCH, layout="constrained")
    bars, centres, sizes = figure.subplots(1, 3)
    bars.bar(range(len(names)), counts, color=BLUE)
    bars.set(title=f"boxes of each of {len(names)} classes", ylabel="boxes")
    if len(names) <= NAMED:
        bars.set_xticks(range(len(names)), [*map(literal, names)], rotation=90, fontsize=8)
    few = np.linspace(0, len(boxes) - 1, min(len(boxes), MOST_DOTS)).astype(int)
    dots = {"s": 3, "alpha": 0.3, "linewidths": 0}
    centres.scatter(boxes[few, 1], boxes[few, 2], color=BLUE, **dots)
    centres.set(title="centres", xlim=(0, 1), ylim=(1, 0), xlabel="x, share of the width")
    centres.set_ylabel("y, share of the height")
    sizes.scatter(boxes[few, 3], boxes[few, 4], color=ORANGE, **dots)
    sizes.set(title="sizes", xlim=(0, 1), ylim=(0, 1), xlabel="share of the width")
    sizes.set_ylabel("share of the height")
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))
