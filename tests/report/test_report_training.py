"""Pictures are looked at by people; here, that they show what they were given."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from matplotlib.axes import Axes

from prunus.report.training import MOST_DOTS, plot_labels, plot_training

COLUMNS = (
    "train/box_loss", "val/box_loss", "train/obj_loss", "val/obj_loss", "train/cls_loss",
    "val/cls_loss", "metrics/precision", "metrics/recall", "metrics/mAP_0.5",
    "metrics/mAP_0.5:0.95", "x/lr0", "x/lr1",
)  # fmt: skip


def read(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture.astype(np.uint8)


def test_curves_leave_out_epochs_that_were_not_validated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, tuple[list[float], list[float]]] = {}
    plot = Axes.plot

    def remember(axes: Axes, x: list[float], y: list[float], **options: Any) -> object:
        drawn[str(options["label"])] = list(x), list(y)
        return plot(axes, x, y, **options)

    monkeypatch.setattr(Axes, "plot", remember)
    rows = [{"epoch": float(i), **dict.fromkeys(COLUMNS, i / 10)} for i in range(4)]
    rows[2] = {**rows[2], "metrics/mAP_0.5": None}  # type: ignore[dict-item]
    plot_training(tmp_path / "curves.png", rows, best_epoch=3)
    assert drawn["metrics/mAP_0.5"] == ([0, 1, 3], [0, 0.1, 0.3])
    assert drawn["x/lr1"] == ([0, 1, 2, 3], [0, 0.1, 0.2, 0.3])
    assert set(drawn) == set(COLUMNS)
    assert read(tmp_path / "curves.png").std() > 10


@pytest.mark.parametrize("boxes", [0, 7, MOST_DOTS + 5])
def test_labels_are_drawn_however_many_there_are(tmp_path: Path, boxes: int) -> None:
    rng = np.random.default_rng(0)
    rows = rng.random((boxes, 5)).astype(np.float32)
    rows[:, 0] = rng.integers(3, size=boxes)
    plot_labels(tmp_path / "labels.png", rows, ("a", "b", "c"))
    assert read(tmp_path / "labels.png").shape[2] == 3
