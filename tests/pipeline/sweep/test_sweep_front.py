"""Means over seeds, the front of them, and the best for a wish."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunus.core.config import parse
from prunus.core.errors import ConfigError
from prunus.pipeline.compress.config import CompressConfig
from prunus.pipeline.compress.run import with_best_of_sweep
from prunus.pipeline.sweep.best import best_of_sweep
from prunus.pipeline.sweep.front import candidates, cost, front_of, front_table, plot_front
from prunus.pipeline.sweep.point import Point, Trial
from prunus.pipeline.sweep.table import FILE, Table

POINT = Point("l1", "bn", "layer", "8", "flops", 0.5, 0)


def done(number: int, point: Point | None, map50_95: float, gflops: float, **more: object) -> Trial:
    settings = {"criterion": "dense"} if point is None else asdict(point)
    values = {"map50_95": map50_95, "gflops": gflops, "params": 10, **settings, **more}
    return Trial(number, "done", **values)  # type: ignore[arg-type]


def test_seeds_count_with_their_mean() -> None:
    trials = [
        done(0, None, 0.3, 4.0),
        done(1, POINT, 0.1, 2.0, weights="a"),
        done(2, replace(POINT, seed=1), 0.2, 2.2, weights="b"),
        done(3, replace(POINT, amount=0.7), 0.25, 3.0),
        replace(done(4, replace(POINT, seed=2), 0.0, 9.9), status="failed"),
    ]
    dense, two, one = candidates(trials)
    assert (dense.title, one.trials) == ("dense", (3,))
    assert two.point == POINT
    assert (two.map50_95, two.lowest, two.highest) == pytest.approx((0.15, 0.1, 0.2))
    assert (two.gflops, two.cost) == pytest.approx((2.1, 2.1))
    assert (two.trials, two.weights) == ((2, 1), "b")


def test_cost_is_the_share_of_the_dense_time_where_it_was_measured() -> None:
    timed = done(1, POINT, 0.2, 2.0, ms=5.0, dense_ms=10.0, speedup=2.0)
    assert cost(timed) == 0.5
    assert cost(done(1, POINT, 0.2, 2.0)) == 2.0
    dense, _ = candidates([done(0, None, 0.3, 4.0), timed])
    assert (dense.cost, dense.speedup) == (1.0, 1.0)


def test_front_by_hand() -> None:
    amounts = [(0.10, 1.0), (0.20, 2.0), (0.15, 3.0), (0.30, 4.0), (0.30, 5.0)]
    trials = [
        done(number, replace(POINT, amount=number / 10), *pair)
        for number, pair in enumerate(amounts, start=1)
    ]
    front = front_of(candidates(trials))
    assert [one.trials for one in front] == [(1,), (2,), (4,)]
    text = front_table("front", front)
    assert "l1 layer bn --round-to 8 --flops 0.4 --seed 0" in text


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 9)), min_size=1, max_size=20))
def test_nothing_on_the_front_is_beaten_and_all_else_is(
    pairs: Sequence[tuple[float, float]],
) -> None:
    trials = [
        done(number, replace(POINT, amount=float(number)), *pair)
        for number, pair in enumerate(pairs, start=1)
    ]
    found = candidates(trials)
    front = front_of(found)
    for one in found:
        as_good = [
            other for other in front if other.map50_95 >= one.map50_95 and other.cost <= one.cost
        ]
        assert as_good, "everything is on the front or matched by it"
        if one in front:
            assert as_good == [one]


def sweep_folder(folder: Path, trials: Sequence[Trial]) -> Path:
    with Table(folder / FILE) as table:
        table.add([trial.point for trial in trials])
        for trial in trials:
            values = {name: value for name, value in asdict(trial).items() if value is not None}
            table.change(values.pop("number"), **values)
    return folder


@pytest.fixture
def swept(tmp_path: Path) -> Path:
    """A dense model and three points: 2.0x at 0.2, 1.5x at 0.25, and 1.6x at 0.24."""
    points = [replace(POINT, amount=amount) for amount in (0.4, 0.7, 0.6)]
    figures = [(0.2, 1.6, 2.0), (0.25, 2.8, 1.5), (0.24, 2.4, 1.6)]
    trials = [done(0, None, 0.3, 4.0)]
    for number, (point, (accuracy, gflops, speedup)) in enumerate(
        zip(points, figures, strict=True)
    ):
        trials.append(
            done(number + 1, point, accuracy, gflops, ms=10 / speedup, dense_ms=10.0,
                 speedup=speedup)
        )  # fmt: skip
    return sweep_folder(tmp_path, trials)


@pytest.mark.parametrize(
    ("wish", "amount"),
    [
        ({}, 0.7),
        ({"speedup": 1.5}, 0.7),
        ({"speedup": 1.55}, 0.6),
        ({"speedup": 1.8}, 0.4),
        ({"flops": 0.6}, 0.6),
        ({"flops": 0.5}, 0.4),
        ({"speedup": 1.55, "flops": 0.7}, 0.6),
    ],
)
def test_the_best_is_the_most_accurate_that_fulfils_the_wish(
    swept: Path, wish: dict[str, float], amount: float
) -> None:
    best = best_of_sweep(swept, **wish)
    assert best.point is not None
    assert best.point.prune_values() == {
        "criterion": "l1",
        "repair": "bn",
        "scope": "layer",
        "round_to": "8",
        "flops": amount,
        "seed": 0,
    }


def test_what_no_trial_reaches_is_said_with_what_was(swept: Path) -> None:
    with pytest.raises(ConfigError, match=r"no trial is 3x as fast; the fastest is 2.00x"):
        best_of_sweep(swept, speedup=3)
    with pytest.raises(ConfigError, match=r"within 0.1 of the FLOPs; the least is 0.400"):
        best_of_sweep(swept, flops=0.1)


def test_compress_cuts_as_the_best_of_a_sweep(swept: Path) -> None:
    """How is the sweep's; how much stays what compress was asked for."""
    values = {"data": "d.yaml", "weights": "w.pt", "flops": 0.6, "from_sweep": swept}
    settings = with_best_of_sweep(parse(CompressConfig, values))
    assert (settings.criterion, settings.repair, settings.scope) == ("l1", "bn", "layer")
    assert (settings.round_to, settings.flops) == (8, 0.6)
    with pytest.raises(ConfigError, match=r"no trial is within 0\.1 of the FLOPs"):
        with_best_of_sweep(parse(CompressConfig, {**values, "flops": 0.1}))
    with pytest.raises(ConfigError, match="--criterion: --from-sweep says already"):
        with_best_of_sweep(parse(CompressConfig, {**values, "criterion": "taylor"}))
    with pytest.raises(ConfigError, match="goes with --speedup or --flops"):
        with_best_of_sweep(parse(CompressConfig, {**values, "flops": None, "params": 0.5}))


def test_a_sweep_that_was_not_timed_has_no_fastest(tmp_path: Path) -> None:
    sweep_folder(tmp_path, [done(0, None, 0.3, 4.0), done(1, POINT, 0.2, 2.0)])
    assert best_of_sweep(tmp_path).trials == (1,)
    with pytest.raises(ConfigError, match=r"was not timed. Run one with --runtime"):
        best_of_sweep(tmp_path, speedup=2)


def test_nothing_done_is_said(tmp_path: Path) -> None:
    with Table(tmp_path / FILE) as table:
        table.add([None, POINT])
    with pytest.raises(ConfigError, match="no trial of the sweep is done"):
        best_of_sweep(tmp_path)


def test_the_picture_shows_points_of_each_criterion(tmp_path: Path) -> None:
    trials = [done(0, None, 0.3, 4.0)]
    for number, criterion in enumerate(("l1", "taylor", "bn_scale"), start=1):
        trials.append(done(number, replace(POINT, criterion=criterion), number / 20, number * 1.0))
    found = candidates(trials)
    plot_front(tmp_path / "pareto.png", found, front_of(found))
    picture = cv2.imread(str(tmp_path / "pareto.png"))
    assert picture is not None
    assert picture.shape == (600, 900, 3)
    assert len({tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}) > 20
