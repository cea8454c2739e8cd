"""The grid, and what is refused before anything is computed."""

import json
from pathlib import Path
from typing import Any

import pytest

from prunus.cli.main import main
from prunus.core.config import parse
from prunus.core.errors import ConfigError, PruningError
from prunus.pipeline.sweep.config import SweepConfig
from prunus.pipeline.sweep.forecast import trial_seconds
from prunus.pipeline.sweep.plan import Files, grid, job
from prunus.pipeline.sweep.point import Point
from prunus.prune.config import PruneConfig

FILES = {"weights": "w.safetensors", "data": "d.yaml"}


def settings(**values: object) -> SweepConfig:
    return parse(SweepConfig, {**FILES, **values})


def test_the_grid_is_the_product_of_its_axes_and_seeds_come_last() -> None:
    points = grid(
        settings(criterion="l1,taylor", flops="0.5,0.7", repair="bn,none", seeds=2, seed=5)
    )
    assert len(points) == 2 * 2 * 2 * 2
    assert points[0] == Point("l1", "bn", "global", "auto", "flops", 0.5, 5)
    assert points[1] == Point("l1", "bn", "global", "auto", "flops", 0.7, 5)
    assert points[2].criterion == "taylor"
    assert [point.seed for point in points] == [5] * 8 + [6] * 8


def test_equal_points_are_run_once_and_shares_are_read_as_prune_reads_them() -> None:
    points = grid(settings(percent="50,0.5,30:40:10", criterion="l1,l1"))
    assert [point.amount for point in points] == [0.5, 0.3, 0.4]


def test_every_point_is_what_prune_takes() -> None:
    for point in grid(settings(speedup="1.5,2", round_to="8,auto", scope="layer")):
        parsed = parse(PruneConfig, {**FILES, **point.prune_values()})
        assert parsed.speedup == point.amount
        assert parsed.scope == "layer"
        assert str(parsed.round_to) == point.round_to


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"flops": "0.5,100"}, "--flops 100 --seed 0: --flops: expected less than 1"),
        ({"speedup": "1"}, "--speedup: expected greater than 1"),
        ({"flops": "0.5", "repair": "glue"}, "--repair: expected 'ridge', 'bn' or 'none'"),
        ({"flops": "0.5", "scope": "town"}, "--scope: expected 'global' or 'layer'"),
        ({"flops": "0.5", "round_to": "x"}, "round_to"),
    ],
)
def test_a_point_that_prune_refuses_is_refused_with_its_reason(
    values: dict[str, object], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        grid(settings(**values))


def test_an_unknown_criterion_is_refused() -> None:
    with pytest.raises(PruningError, match=r"no criterion 'tailor'. Did you mean 'taylor'"):
        grid(settings(flops="0.5", criterion="l1,tailor"))


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--flops", "0.9:0.3:0.1"), "--flops: '0.9:0.3:0.1' is empty. Write first:last:step"),
        (("--flops", "0.5", "--params", "0.5"), "give one budget axis, not --flops and --params"),
        ((), "give one budget axis, not none"),
        (("--flops", "0.5", "--criterion", ","), "--criterion: "),
        (("--flops", "0.5", "--criterion", "tailor"), "no criterion 'tailor'. Did you mean"),
        (("--flops", "0.5", "--trials", "9"), "--trials: searches between two values of --flops"),
        (("--flops", "0.5,0.6", "--trials", "9", "--seeds", "2"), "--seeds: is an axis of the"),
        (("--flops", "0.5", "--ray", "--device", "0"), "--device 0: trials on a Ray cluster run"),
        (("--flops", "0.5", "--seeds", "0"), "--seeds: expected greater than or equal to 1"),
        (("--flops", "0.5", "--finetune-epochs", "1", "--hyp", "nope"), "nope"),
        (("--flops", "0.5"), "w.safetensors: no such file"),
    ],
)
def test_whole_sweeps_are_refused_in_a_line_before_anything_runs(
    words: tuple[str, ...], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ("--weights", str(tmp_path / "w.safetensors"), "--data", str(tmp_path / "d.yaml"))
    out = tmp_path / "out"
    assert main(["sweep", *files, *words, "--out", str(out), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_weights_and_data_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--flops", "0.5"]) == 2
    assert "give --weights and --data, or --resume RUN." in capsys.readouterr().err


def test_a_job_is_plain_json_and_says_everything(tmp_path: Path) -> None:
    chosen = settings(flops="0.5", finetune_epochs=2, runtime="onnx", image_size=96)
    (point,) = grid(chosen)
    files = Files(tmp_path / "w.safetensors", tmp_path / "d.yaml", tmp_path / "0001")
    made: Any = job(1, point, chosen, files)
    assert json.loads(json.dumps(made)) == made
    assert list(made["stages"]) == ["prune", "train", "val", "benchmark"]
    assert {made[name] for name in ("weights", "data", "folder")} == {
        str(tmp_path / name) for name in ("w.safetensors", "d.yaml", "0001")
    }
    assert all(stage["image_size"] == 96 for stage in made["stages"].values())
    assert made["stages"]["val"]["precision"] == "fp32"
    dense: Any = job(0, None, chosen, files)
    assert list(dense["stages"]) == ["val"]


def test_seconds_of_a_trial_by_hand() -> None:
    chosen = settings(
        flops="0.5",
        criterion="l1,taylor",
        repair="none,bn",
        calibration_images=100,
        finetune_epochs=2,
    )
    images = {"train": 50, "val": 20}
    passes = 50 * (1.5 / 2 + 6 / 2) + 3 * 0.7 * 20 + 2 * 4 * 50
    assert trial_seconds(chosen, 0.1, images) == pytest.approx(5 + passes * 0.1)
    timed = chosen.model_copy(update={"runtime": "onnx"})
    assert trial_seconds(timed, 0.1, images) == pytest.approx(15 + passes * 0.1)
