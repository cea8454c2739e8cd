"""Optuna proposes, the table remembers: without training anything."""

from pathlib import Path

import pytest

from prunus.core.config import parse
from prunus.pipeline.sweep.config import SweepConfig
from prunus.pipeline.sweep.point import Point, Trial
from prunus.pipeline.sweep.search import Search
from prunus.pipeline.sweep.table import FILE, Table

pytest.importorskip("optuna")
SETTINGS = parse(
    SweepConfig,
    {
        "weights": "w.safetensors",
        "data": "d.yaml",
        "criterion": "l1,taylor",
        "flops": "0.4,0.9",
        "trials": 6,
        "seed": 3,
    },
)


def begun(folder: Path) -> Table:
    table = Table(folder / FILE)
    table.add([None])
    table.change(0, status="done", map50_95=0.3, gflops=4.0)
    return table


def search(table: Table, settings: SweepConfig = SETTINGS) -> Search:
    return Search(settings, table, lambda point: point)


def ended(table: Table, trial: Trial) -> Trial:
    """Pretend to have run a trial: Taylor is better, more FLOPs are better."""
    point = trial.point
    assert point is not None
    accuracy = 0.3 * point.amount + (0.02 if point.criterion == "taylor" else 0)
    return table.change(trial.number, status="done", map50_95=accuracy, gflops=4 * point.amount)


def run(table: Table, proposals: Search, most: int = 99) -> list[Point | None]:
    points: list[Point | None] = []
    while len(points) < most and (trial := proposals.next()) is not None:
        points.append(trial.point)
        proposals.tell(ended(table, trial))
    return points


def test_so_many_trials_are_proposed_within_the_ends(tmp_path: Path) -> None:
    with begun(tmp_path) as table:
        proposals = search(table)
        assert proposals.left == 6
        points = run(table, proposals)
        assert proposals.left == 0
    assert len(set(points)) == 6
    for point in points:
        assert point is not None
        assert 0.4 <= point.amount <= 0.9
        assert round(point.amount, 4) == point.amount
        assert (point.budget, point.seed) == ("flops", 3)
    assert {point.criterion for point in points if point} == {"l1", "taylor"}


def test_the_same_seed_proposes_the_same(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with begun(tmp_path / name) as table:
            found.append(run(table, search(table)))
    assert found[0] == found[1]


def test_a_search_is_taken_up_from_the_table(tmp_path: Path) -> None:
    with begun(tmp_path) as table:
        proposals = search(table)
        first = run(table, proposals, most=3)
        stopped = proposals.next()  # its worker dies with the driver
        assert stopped is not None
        table.change(1, status="failed", map50_95=None)
        again = search(table)
        assert again.left == 3
        waiting = again.next()
        assert waiting == table.trials()[4]
        assert waiting is not None
        again.tell(ended(table, waiting))
        rest = run(table, again)
        assert len(rest) == 2
        assert not set(rest) & {*first, stopped.point}
        states = [trial.state.name for trial in again._study.trials]
        assert states == ["FAIL", *["COMPLETE"] * 5], "it knows of all"
        amounts = [trial.params["amount"] for trial in again._study.trials]
        known = [trial.amount for trial in table.trials()[1:]]
        assert amounts == pytest.approx(known, abs=1e-4)
        assert search(table).left == 0
        more = search(table, SETTINGS.model_copy(update={"trials": 8}))
        assert more.left == 2
