"""What is written down after each epoch: a line, a row of results.csv, what loggers are told."""

import csv
from dataclasses import dataclass
from pathlib import Path

import torch

from prunus.core.console import log
from prunus.core.files import write_atomically
from prunus.model.detector import Detector
from prunus.train.loggers import Board
from prunus.train.sparsity import GammaShrinker, gamma_sizes, gamma_summary
from prunus.train.validate import Validation

RESULTS = "results.csv"
COLUMNS = (
    "epoch",
    "train/box_loss",
    "train/obj_loss",
    "train/cls_loss",
    "metrics/precision",
    "metrics/recall",
    "metrics/mAP_0.5",
    "metrics/mAP_0.5:0.95",
    "val/box_loss",
    "val/obj_loss",
    "val/cls_loss",
    "x/lr0",
    "x/lr1",
    "x/lr2",
)
"""The official names, so that existing tools read the file; lr0 is that of the biases."""

Losses = tuple[float, float, float]
Row = dict[str, float | None]


@dataclass(frozen=True)
class EpochFacts:
    """One finished epoch.

    Attributes:
        epoch: Counted from 0, as in the official file.
        losses: Mean box, objectness and class terms of training.
        rates: Learning rates of the three groups at the epoch's end.
        validation: None when this epoch was not validated.
        images_per_second: Of training, without validation.
    """

    epoch: int
    losses: Losses
    rates: tuple[float, float, float]
    validation: Validation | None
    images_per_second: float

    def row(self) -> Row:
        """Return the facts under the names of COLUMNS."""
        judged: list[float | None] = [None] * 7
        if self.validation is not None:
            figures = self.validation.evaluation
            means = [figures.precision, figures.recall, figures.map50, figures.map50_95]
            judged = [*means, *self.validation.losses]
        values = [float(self.epoch), *self.losses, *judged, *self.rates]
        return dict(zip(COLUMNS, values, strict=True))

    def scalars(self) -> Row:
        """Return what loggers are told."""
        row = self.row()
        del row["epoch"]
        return row


def write_results(path: Path, rows: list[Row]) -> None:
    """Write all rows anew, atomically: an epoch that is repeated stands there once."""

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            for row in rows:
                writer.writerow({name: _cell(name, value) for name, value in row.items()})

    write_atomically(path, write)


def count_results(folder: Path) -> int:
    """Return the epochs that a run's results.csv has; 0 when there is none."""
    try:
        return max(len((folder / RESULTS).read_text(encoding="utf-8").splitlines()) - 1, 0)
    except OSError:
        return 0


def log_epoch(facts: EpochFacts, epochs: int, best: bool) -> None:
    """Say one line about an epoch."""
    box, objectness, classes = facts.losses
    judged = ""
    if facts.validation is not None:
        figures = facts.validation.evaluation
        judged = f"  mAP50 {figures.map50:.3f}  mAP50-95 {figures.map50_95:.3f}"
    log.info(
        "epoch %d/%d  box %.4f  obj %.4f  cls %.4f%s  %.1f img/s%s",
        facts.epoch + 1,
        epochs,
        box,
        objectness,
        classes,
        judged,
        facts.images_per_second,
        "  best" if best else "",
    )


def log_gammas(board: Board, shrinker: GammaShrinker, detector: Detector, epoch: int) -> None:
    """Say and write how far the gammas of a sparsity training have come."""
    sizes = gamma_sizes(detector, shrinker.names)
    summary = gamma_summary(sizes)
    left = shrinker.budget - shrinker.spent
    facts = {**summary, "pull_spent": shrinker.spent, "pull_left": left}
    board.add_scalars({f"gamma/{name}": value for name, value in facts.items()}, epoch)
    every = torch.cat([size.float().cpu() for size in sizes.values()])
    named = {"all": every, **{name: size.float().cpu() for name, size in sizes.items()}}
    board.add_histograms({f"gamma/{name}": size.numpy() for name, size in named.items()}, epoch)
    log.info(
        "gammas: %.1f %% below 0.001, %.1f %% below 0.01, half below %.3f; pull spent %.2f of %.2f",
        summary["below_0.001"] * 100,
        summary["below_0.01"] * 100,
        summary["cut_at_50%"],
        shrinker.spent,
        shrinker.budget,
    )


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if name == "epoch" else f"{value:.6g}"
