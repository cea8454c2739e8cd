"""Chains of verbs: references, whole checks beforehand, and runs that go on where they were."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from prunus.core.config import parse
from prunus.core.errors import ConfigError, PrunusError
from prunus.pipeline.chain.recipe import read_recipe
from prunus.pipeline.chain.stage import Done, Stage
from prunus.pipeline.config import RecipeConfig
from prunus.pipeline.recipe import run_recipe


def written(folder: Path, content: object) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def cut_and_judge(orchard: Path, weights: Path) -> dict[str, Any]:
    return {
        "data": str(orchard),
        "image_size": 64,
        "stages": [
            {"stage": "zeros", "verb": "sparsify", "weights": str(weights), "amount": 0.2},
            {"stage": "cut", "verb": "prune", "weights": "${zeros.weights}", "flops": 0.7,
             "repair": "none", "criterion": "l2", "calibration_images": 4, "latency": False},
            {"stage": "judge", "verb": "val", "weights": ["${cut.weights}"], "plots": False},
        ],
    }  # fmt: skip


def go(folder: Path, recipe: Path | None = None, **values: object) -> dict[str, Any]:
    place = {"resume": folder} if recipe is None else {"recipe": recipe, "out": folder}
    return run_recipe(parse(RecipeConfig, {**place, **values}))


def finished(folder: Path) -> dict[str, str]:
    """Return when each stage finished, as its report says."""
    return {
        path.parent.name: json.loads(path.read_text())["finished"] + str(path.stat().st_mtime_ns)
        for path in folder.glob("*/report.json")
    }


def test_a_recipe_runs_and_hands_files_on(orchard: Path, weights: Path, tmp_path: Path) -> None:
    recipe = written(tmp_path, cut_and_judge(orchard, weights))
    report = go(tmp_path / "run", recipe)
    assert [stage["folder"] for stage in report["stages"]] == ["01-zeros", "02-cut", "03-judge"]
    judged = json.loads((tmp_path / "run" / "03-judge" / "report.json").read_text())
    assert judged["settings"]["weights"] == [
        str(tmp_path / "run" / "02-cut" / "pruned.safetensors")
    ]
    assert judged["settings"]["image_size"] == 64
    again = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert again["stages"] == cut_and_judge(orchard, weights)["stages"]
    assert read_recipe(tmp_path / "run" / "recipe.yaml").stages[1].verb == "prune"


def test_it_stops_goes_on_and_redoes(orchard: Path, weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    recipe = written(tmp_path, cut_and_judge(orchard, weights))
    assert go(folder, recipe, until="cut")["stopped_after"] == "cut"
    first = finished(folder)
    assert set(first) == {"01-zeros", "02-cut"}
    go(folder)
    second = finished(folder)
    assert set(second) == {"01-zeros", "02-cut", "03-judge"}
    assert {name: second[name] for name in first} == first, "finished stages run once"
    assert (folder / "report.json").is_file()
    go(folder, redo_from="cut")
    third = finished(folder)
    assert third["01-zeros"] == first["01-zeros"]
    assert third["02-cut"] != first["02-cut"]
    assert third["02-cut.old1"] == first["02-cut"], "what was finished is set aside, not lost"


def test_a_recipe_of_stages_alone_stops_and_goes_on(weights: Path, tmp_path: Path) -> None:
    zeros = {"verb": "sparsify", "amount": 0.2}
    stages = [{"stage": "a", "weights": str(weights), **zeros}, {"stage": "b", "weights": "${a.weights}", **zeros}]  # fmt: skip  # noqa: E501
    folder, recipe = tmp_path / "run", written(tmp_path, {"stages": stages})
    with pytest.raises(ConfigError, match=r"--until: the recipe has no stage 'c'\. .*It has a, b"):
        go(tmp_path / "bad", recipe, until="c")
    assert go(folder, recipe, until="a")["stopped_after"] == "a"
    assert len(go(folder)["stages"]) == 2
    assert (folder / "report.json").is_file()
    assert go(folder, redo_from="a", until="a")["stopped_after"] == "a"
    assert not (folder / "report.json").exists(), "what is not finished any more has no report"


def test_a_default_may_be_said_or_not() -> None:
    stage = Stage("cut", "prune", {"weights": "w.pt", "speedup": 2.0})
    entry = stage.to_mapping()
    assert stage.is_what(entry)
    assert stage.is_what({**entry, "runtime_precision": "fp32"}), "a default of today"
    assert Stage("cut", "prune", {**stage.settings, "threads": 1}).is_what(entry)
    assert not stage.is_what({**entry, "runtime_precision": "bf16"})
    assert not stage.is_what({**entry, "speedup": 2.1})
    assert not stage.is_what({key: entry[key] for key in ("stage", "verb", "weights")})
    assert not stage.is_what({**entry, "stage": "other"})


def test_a_stage_that_was_killed_begins_anew(orchard: Path, weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    recipe = written(tmp_path, cut_and_judge(orchard, weights))
    go(folder, recipe, until="cut")
    (folder / "02-cut" / "report.json").unlink()
    (folder / "02-cut" / "half-written").touch()
    go(folder)
    assert not (folder / "02-cut" / "half-written").exists()
    assert (folder / "03-judge" / "report.json").is_file()


def test_another_setting_is_another_stage(orchard: Path, weights: Path, tmp_path: Path) -> None:
    folder, content = tmp_path / "run", cut_and_judge(orchard, weights)
    go(folder, written(tmp_path, content))
    before = finished(folder)
    content["stages"][1]["flops"] = 0.6
    written(tmp_path, content)
    go(folder)
    after = finished(folder)
    assert after["01-zeros"] == before["01-zeros"]
    assert after["02-cut.old1"] == before["02-cut"]
    assert after["03-judge.old1"] == before["03-judge"], "it was made from the other cut"


def test_another_setting_of_all_stages_is_another_stage_where_it_is_known(
    orchard: Path, weights: Path, tmp_path: Path
) -> None:
    folder, content = tmp_path / "run", cut_and_judge(orchard, weights)
    go(folder, written(tmp_path, content))
    before = finished(folder)
    content["image_size"] = 96
    written(tmp_path, content)
    go(folder)
    after = finished(folder)
    assert after["01-zeros"] == before["01-zeros"], "sparsify knows no size"
    assert after["02-cut.old1"] == before["02-cut"]
    judged = json.loads((folder / "03-judge" / "report.json").read_text())
    assert judged["settings"]["image_size"] == 96


def test_a_moved_run_still_finds_its_files(tmp_path: Path) -> None:
    report = {"weights": "runs/a/01-cut/pruned.safetensors", "settings": {"out": "runs/a/01-cut"}}
    done = Done(Stage("cut", "prune", {}), tmp_path / "b" / "01-cut", report)
    assert done.path("weights") == tmp_path / "b" / "01-cut" / "pruned.safetensors"
    with pytest.raises(ConfigError, match="stage cut: its report names no plan"):
        done.path("plan")


def test_a_training_that_was_killed_goes_on(orchard: Path, weights: Path, tmp_path: Path) -> None:
    """The epoch that was done is not done again."""
    content = {
        "data": str(orchard),
        "stages": [
            {"stage": "more", "verb": "train", "weights": str(weights), "image_size": 64,
             "epochs": 2, "batch_size": 4, "nominal_batch": 4, "plots": False},
        ],
    }  # fmt: skip
    folder = tmp_path / "run"
    go(folder, written(tmp_path, content))
    whole = (folder / "01-more" / "results.csv").read_text()
    for name in ("report.json", "../report.json"):
        (folder / "01-more" / name).unlink()
    go(folder)
    assert (folder / "01-more" / "results.csv").read_text() == whole
    assert "resum" in (folder / "01-more" / "log.txt").read_text().lower()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["stages"][1].update(weights="${nought.best}"), "no earlier stage 'nought'"),
        (lambda c: c["stages"][1].update(weights="${zeros.best}"),
         r"\$\{zeros.best\}: sparsify has no file 'best', but weights, folder"),
        (lambda c: c["stages"][1].update(verb="prun"), "no verb 'prun' in a chain"),
        (lambda c: c["stages"][1].update(flops=3000), "stage cut: --flops: expected less than 1"),
        (lambda c: c["stages"][1].update(flopps=0.5), "stage cut: flopps: unknown setting"),
        (lambda c: c["stages"][0].update(weights="none.pt"), "weights: none.pt: no such file"),
        (lambda c: c["stages"][2].update(stage="cut"), "'cut' is there already"),
        (lambda c: c["stages"][2].update(stage="../x"), "a stage's name is letters"),
        (lambda c: c["stages"][2].update(out="/tmp/x"), "out: the chain decides"),
        (lambda c: c.update(imgsize=64), "imgsize: no stage knows this setting"),
        (lambda c: c.update(stages=[]), "expected a list `stages:`"),
        (lambda c: c["stages"].append("x"), "stage 4: expected `stage:`, `verb:`"),
    ],
)  # fmt: skip
def test_a_recipe_is_checked_before_its_first_second(
    orchard: Path, weights: Path, tmp_path: Path, change: Any, message: str
) -> None:
    content = cut_and_judge(orchard, weights)
    change(content)
    recipe = written(tmp_path, content)
    with pytest.raises(ConfigError, match=message):
        go(tmp_path / "run", recipe, dry_run=True)
    assert not (tmp_path / "run").exists()


def test_nothing_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no run of prunus run"):
        go(tmp_path)
    with pytest.raises(ConfigError, match="nothing unfinished in"):
        run_recipe(parse(RecipeConfig, {"resume": "auto", "project": tmp_path}))
    with pytest.raises(ConfigError, match="RECIPE: is needed"):
        parse(RecipeConfig, {})
    with pytest.raises(PrunusError, match="--from: needs --resume"):
        run_recipe(parse(RecipeConfig, {"recipe": tmp_path / "r.yaml", "redo_from": "cut"}))


def test_redo_names_a_stage_that_is_there(orchard: Path, weights: Path, tmp_path: Path) -> None:
    go(tmp_path / "run", written(tmp_path, cut_and_judge(orchard, weights)), until="zeros")
    with pytest.raises(ConfigError, match="has no stage 'kut'"):
        go(tmp_path / "run", redo_from="kut")
