"""The table: typed, written as results come, and whole whatever happens."""

import csv
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from prunus.core.errors import ConfigError
from prunus.pipeline.sweep.point import Point
from prunus.pipeline.sweep.table import FILE, Table, read_trials

POINT = Point("l1", "bn", "layer", "8", "flops", 0.5, 3)


def test_what_is_written_is_read_again_with_its_types(tmp_path: Path) -> None:
    with Table(tmp_path / FILE) as table:
        table.add([None, POINT])
        table.change(1, status="done", map50_95=0.25, params=1000, gflops=2.0, seconds=1.5)
    dense, trial = read_trials(tmp_path)
    assert (dense.point, dense.title, dense.status) == (None, "dense", "waiting")
    assert trial.point == POINT
    assert (trial.map50_95, trial.params, trial.worker) == (0.25, 1000, None)
    connection = sqlite3.connect(tmp_path / FILE)
    kinds = connection.execute(
        "SELECT typeof(number), typeof(amount), typeof(params), typeof(criterion), typeof(ms) "
        "FROM trials WHERE number = 1"
    ).fetchone()
    assert kinds == ("integer", "real", "integer", "text", "null")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()


def test_drop_and_share_are_told_whenever_the_dense_model_is_judged(tmp_path: Path) -> None:
    with Table(tmp_path / FILE) as table:
        table.add([None, POINT, replace(POINT, amount=0.7)])
        early = table.change(1, status="done", map50_95=0.25, gflops=2.0)
        assert (early.drop, early.flops_share) == (None, None)
        table.change(0, status="done", map50_95=0.3, gflops=4.0)
        late = table.change(2, status="done", map50_95=0.31, gflops=3.0)
        early = table.trials()[1]
    assert (early.drop, early.flops_share) == pytest.approx((0.05, 0.5))
    assert (late.drop, late.flops_share) == pytest.approx((-0.01, 0.75))


def test_a_table_that_is_there_grows_on(tmp_path: Path) -> None:
    with Table(tmp_path / FILE) as table:
        table.add([None])
    with Table(tmp_path / FILE) as table:
        (added,) = table.add([POINT])
    assert added.number == 1
    assert [trial.number for trial in read_trials(tmp_path)] == [0, 1]


def test_csv_holds_every_column_and_row(tmp_path: Path) -> None:
    with Table(tmp_path / FILE) as table:
        table.add([None, POINT])
        table.change(1, status="failed", error='a "quoted", line')
        table.write_csv(tmp_path / "sweep.csv")
    with (tmp_path / "sweep.csv").open(newline="") as file:
        _, row = csv.DictReader(file)
    assert (row["criterion"], row["amount"], row["error"]) == ("l1", "0.5", 'a "quoted", line')
    assert row["map50_95"] == ""


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no sweep.sqlite. Give the folder of a `prunus"):
        read_trials(tmp_path)
    (tmp_path / FILE).write_text("no database" * 100)
    with pytest.raises(ConfigError, match="not the table of a sweep: file is not a database"):
        read_trials(tmp_path)
    with pytest.raises(ConfigError, match="not the table of a sweep"):
        Table(tmp_path / FILE)


def test_trials_of_other_weights_are_not_added(tmp_path: Path) -> None:
    weights, data = tmp_path / "w.pt", tmp_path / "d.yaml"
    weights.write_bytes(b"one")
    data.write_text("train: x")
    with Table(tmp_path / FILE) as table:
        table.check_inputs({"weights": weights, "data": data})
    with Table(tmp_path / FILE) as table:
        table.check_inputs({"weights": weights, "data": data})
        weights.write_bytes(b"two")
        with pytest.raises(ConfigError, match=r"--weights: .*w\.pt is not what it was when"):
            table.check_inputs({"weights": weights, "data": data})
