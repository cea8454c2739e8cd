"""The pictures of an evaluation: its four curves, and which class was taken for which."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunus.core.files import write_atomically
from prunus.evaluate.average_precision import CONFIDENCES, RECALLS, AveragePrecision

NAMED = 12
"""Up to so many classes have a colour and a name; the curves of more are grey, the mean is not."""
NUMBERED = 30
"""Up to so many classes the confusion matrix has its counts written in."""
GREY_POINTS = 200
"""Points of a grey curve: no more can be seen, and drawing takes as long as there are points."""
DOTS_PER_INCH = 100


def literal(name: str) -> str:
    """Return a name that matplotlib shows as it is: between two dollars it reads formulas."""
    return name.replace("$", r"\$")


def plot_curves(path: Path, figures: AveragePrecision, names: Sequence[str]) -> None:
    """Write precision over recall, and F1, precision and recall over confidence, at IoU .5.

    Args:
        path: A PNG.
        figures: Of C classes that have labels.
        names: Of all classes.
    """
    from matplotlib.figure import Figure  # late: matplotlib takes 0.3 s to import

    precision, recall = figures.precision_curves, figures.recall_curves
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    shown = [literal(names[class_]) for class_ in figures.classes]
    panels = (
        ("recall", "precision", RECALLS, figures.precision_by_recall),
        ("confidence", "F1", CONFIDENCES, f1),
        ("confidence", "precision", CONFIDENCES, precision),
        ("confidence", "recall", CONFIDENCES, recall),
    )
    figure = Figure(figsize=(12, 9), dpi=DOTS_PER_INCH)
    for axes, (across, up, x, curves) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        _draw_curves(axes, x, curves, shown)
        axes.set(xlabel=across, ylabel=up, xlim=(0, 1), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        if across == "confidence":
            axes.axvline(figures.confidence, color="0.3", linestyle="--", linewidth=1)
    figure.suptitle(
        f"IoU .5; mAP50 {figures.map50:.3f}; dashed: confidence {figures.confidence:.3f}, "
        "where the mean F1 is highest"
    )
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="center right", fontsize=8)
    figure.subplots_adjust(left=0.06, right=0.86, top=0.93, bottom=0.06)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))


def plot_confusion(path: Path, matrix: NDArray[np.int64], names: Sequence[str]) -> None:
    """Write a confusion matrix, each column as shares of what was labelled so.

    Args:
        path: A PNG.
        matrix: (K + 1, K + 1) as `confusion.confusion_matrix` gives it.
        names: Of the K classes.
    """
    from matplotlib.figure import Figure

    shares = matrix / np.maximum(matrix.sum(axis=0), 1)
    side = min(5 + 0.1 * len(matrix), 12)
    figure = Figure(figsize=(side + 1, side), dpi=DOTS_PER_INCH)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02)
    ticks = [*map(literal, names), "nothing"]
    size = max(3.0, min(9.0, 520 / len(ticks)))
    axes.set_xticks(range(len(ticks)), ticks, rotation=90, fontsize=size)
    axes.set_yticks(range(len(ticks)), ticks, fontsize=size)
    axes.set(xlabel="labelled as", ylabel="found as")
    if len(names) <= NUMBERED:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, matrix[row, column], color=colour, ha="center", va="center")
    figure.subplots_adjust(left=0.16, right=0.95, top=0.98, bottom=0.16)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))


def _draw_curves(axes: Any, x: NDArray[Any], curves: NDArray[Any], names: Sequence[str]) -> None:
    from matplotlib.collections import LineCollection

    if len(names) <= NAMED:
        for curve, name in zip(curves, names, strict=True):
            axes.plot(x, curve, linewidth=1, label=name)
    else:
        every = max(1, len(x) // GREY_POINTS)
        lines = [np.column_stack((x[::every], curve[::every])) for curve in curves]
        axes.add_collection(LineCollection(lines, linewidths=0.6, colors="0.8"))
    if len(curves):
        label = f"mean of {len(curves)} classes"
        axes.plot(x, curves.mean(axis=0), linewidth=2.5, color="tab:blue", label=label)
