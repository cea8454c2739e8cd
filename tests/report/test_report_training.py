"""Pictures are looked at by people; here, that they show what they were given."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prunus.report.training import plot_labels, plot_training

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
    assert drawn["metrics/mAP_0.5"] == ([1, 2, 4], [0, 0.1, 0.3])
    assert drawn["x/lr1"] == ([1, 2, 3, 4], [0, 0.1, 0.2, 0.3])
    assert set(drawn) == set(COLUMNS)
    assert read(tmp_path / "curves.png").std() > 10


def test_the_best_epoch_is_counted_as_the_log_counts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []
    lines: list[float] = []
    monkeypatch.setattr(Figure, "suptitle", lambda _, text: titles.append(text))
    monkeypatch.setattr(Axes, "axvline", lambda _, x, **__: lines.append(x))
    rows = [{"epoch": float(i), **dict.fromkeys(COLUMNS, 0.5)} for i in range(4)]
    plot_training(tmp_path / "curves.png", rows, best_epoch=2)
    assert titles == ["dashed: the best epoch, 3"]
    assert lines == [3] * 6


@pytest.mark.parametrize(("boxes", "dots"), [(0, 0), (7, 7), (30_005, 20_000)])
def test_labels_are_drawn_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boxes: int, dots: int
) -> None:
    drawn: list[np.ndarray[tuple[int], np.dtype[np.float32]]] = []
    scatter = Axes.scatter

    def remember(axes: Axes, x: Any, y: Any, **options: Any) -> object:
        drawn.extend((x, y))
        return scatter(axes, x, y, **options)

    monkeypatch.setattr(Axes, "scatter", remember)
    rng = np.random.default_rng(0)
    rows = rng.random((boxes, 5)).astype(np.float32)
    rows[:, 0] = rng.integers(3, size=boxes)
    plot_labels(tmp_path / "labels.png", rows, ("a", "b", "c"))
    assert read(tmp_path / "labels.png").shape[2] == 3
    assert [len(values) for values in drawn] == [dots] * 4
    for column, values in enumerate(drawn, start=1):
        assert set(values[:1]) | set(values[-1:]) == set(rows[:1, column]) | set(rows[-1:, column])
