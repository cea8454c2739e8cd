"""Each verb on files, as the command line runs it: what it writes, reports and refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from prunus.cli.main import main
from prunus.weights.files import load_weights

pytestmark = pytest.mark.integration
SIDE = "64"
COCO_KEYS = {"AP", "AP50", "AP75", "APs", "APm", "APl"} | {
    "AR1",
    "AR10",
    "AR100",
    "ARs",
    "ARm",
    "ARl",
}

Run = Callable[..., dict[str, Any]]


def test_train_writes_what_it_promises(trained: dict[str, Any]) -> None:
    folder = Path(trained["last"]).parent
    rows = (folder / "results.csv").read_text().splitlines()
    assert len(rows) == 1 + 2
    assert trained["model"]["params"] == 1_767_976
    assert {"precision", "recall", "map50", "map50_95"} <= set(trained["metrics"])
    events = EventAccumulator(str(folder), size_guidance={"histograms": 0})
    events.Reload()
    assert len(events.Tags()["histograms"]) > 1, "gammas, global and by layer"


def test_train_from_own_weights_keeps_names_and_adds_history(
    run: Run, weights: Path, orchard: Path, tmp_path: Path
) -> None:
    report = run(
        tmp_path / "t", "train", "--data", orchard, "--weights", weights,
        "--epochs", 1, "--batch", 8, "--img", SIDE, "--freeze", "backbone",
    )  # fmt: skip
    before, after = load_weights(weights), load_weights(Path(report["last"]))
    assert [step.verb for step in after.history] == ["train", "train"]
    assert after.history[-1].parent == before.sha256
    frozen = [f"model.{row}." for row in range(10)]
    learnt = 0
    for name, tensor in before.detector.state_dict().items():
        same = torch.equal(tensor, after.detector.state_dict()[name])
        if any(name.startswith(prefix) for prefix in frozen):
            assert same, f"{name} is frozen"
        learnt += not same
    assert learnt > 50


def test_resuming_a_finished_run_is_refused(
    trained: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--resume", str(Path(trained["last"]).parent)]) == 2
    assert "has finished its 2 epochs" in capsys.readouterr().err


def test_val_reports_both_kinds_of_metrics(
    run: Run, weights: Path, orchard: Path, tmp_path: Path
) -> None:
    report = run(tmp_path / "v", "val", "--weights", weights, "--data", orchard, "--img", SIDE)
    metrics = report["metrics"]
    assert set(metrics["coco"]) == COCO_KEYS
    assert metrics["images"] == 4
    assert report["model"]["params"] == 1_767_976
    assert {"weights", "data"} == set(report["inputs"])
    found = json.loads((tmp_path / "v" / "predictions.json").read_text())
    assert len(found) == metrics["detections"]


def test_val_sparsify_sets_a_share_to_zero(
    run: Run, weights: Path, orchard: Path, tmp_path: Path
) -> None:
    report = run(
        tmp_path / "v", "val", "--weights", weights, "--data", orchard,
        "--img", SIDE, "--sparsify", 0.3,
    )  # fmt: skip
    assert report["sparsity"] == pytest.approx(0.3, abs=0.001)


def test_prune_removes_and_keeps_its_shape_through_training(
    run: Run, weights: Path, orchard: Path, tmp_path: Path
) -> None:
    report = run(
        tmp_path / "p", "prune", "--weights", weights, "--data", orchard,
        "--img", SIDE, "--percent", 50,
    )  # fmt: skip
    before, after = report["before"], report["after"]
    assert report["achieved"] == pytest.approx(0.5, abs=0.05)
    for key in ("params", "gflops", "file_mb"):
        assert after[key] < before[key]
    assert before["latency_ms"] > 0
    assert set(after["metrics"]["coco"]) == COCO_KEYS
    pruned = load_weights(Path(report["weights"]))
    assert [step.verb for step in pruned.history] == ["train", "prune"]
    tuned = run(
        tmp_path / "f", "train", "--data", orchard, "--weights", report["weights"],
        "--epochs", 1, "--batch", 8, "--img", SIDE,
    )  # fmt: skip
    assert tuned["model"]["params"] == after["params"]


def test_prune_fails_when_nothing_was_removed(
    run: Run, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(
        tmp_path / "p", "prune", "--weights", weights, "--percent", 0.01, "--round-to", 512,
        "--img", SIDE, code=2,
    )  # fmt: skip
    assert "nothing was removed" in capsys.readouterr().err
    assert not (tmp_path / "p" / "pruned.safetensors").exists()


def test_sparsify_keeps_the_shape_and_says_that_nothing_gets_faster(
    run: Run, weights: Path, tmp_path: Path
) -> None:
    report = run(tmp_path / "s", "sparsify", "--weights", weights, "--amount", 30)
    assert report["sparsity"] == pytest.approx(0.3, abs=0.001)
    assert report["model"]["params"] == 1_767_976
    assert "no speed" in (tmp_path / "s" / "log.txt").read_text()
    zeros = load_weights(Path(report["weights"])).detector.model[0].conv.weight == 0
    assert zeros.float().mean() == pytest.approx(0.3, abs=0.001)


def test_export_val_and_predict_go_through_the_onnx_file(
    run: Run, weights: Path, orchard: Path, tmp_path: Path
) -> None:
    report = run(tmp_path / "e", "export", "--weights", weights, "--img", SIDE, "--data", orchard)
    (file,) = report["files"]
    assert file["parity"]["max_relative"] < 1e-3
    judged = run(tmp_path / "v", "val", "--weights", file["path"], "--data", orchard, "--img", SIDE)
    torch_side = run(
        tmp_path / "w", "val", "--weights", weights, "--data", orchard, "--img", SIDE,
        "--no-rect", "--precision", "fp32",
    )  # fmt: skip
    for key in ("precision", "recall", "map50", "map50_95"):
        assert judged["metrics"][key] == pytest.approx(torch_side["metrics"][key], abs=2e-3)
    pictures = orchard.parent / "images" / "test"
    found = run(
        tmp_path / "d", "predict", "--weights", file["path"], "--source", pictures,
        "--conf-thres", 0.001, "--save-txt", "--img", SIDE,
    )  # fmt: skip
    assert found["images"] == 2
    assert found["detections"] > 0
    assert len(list((tmp_path / "d").rglob("*.txt"))) >= 2
    lines = (tmp_path / "d" / "predictions.jsonl").read_text().splitlines()
    assert len(lines) == 2


def test_benchmark_times_every_model_in_every_runtime(
    run: Run, weights: Path, tmp_path: Path
) -> None:
    report = run(tmp_path / "b", "benchmark", "--weights", weights, "--img", SIDE, "--repeats", 3)
    assert [row["runtime"] for row in report["rows"]] == ["torch", "onnx"]
    assert all(row["latency_ms"] > 0 for row in report["rows"])
    assert report["rows"][0]["speedup"] == 1


def test_inspect_lists_rows_and_what_freezing_does(run: Run, weights: Path, tmp_path: Path) -> None:
    report = run(tmp_path / "i", "inspect", weights, "--freeze", 10)
    assert len(report["rows"]) == 25
    assert report["names"] == ["plum", "leaf", "blossom"]
    assert sum(row["parameters"] for row in report["rows"]) == report["model"]["params"]
    assert np.isclose(report["rows"][-1]["frozen_share"], 1)


def test_data_check_names_each_problem(run: Run, orchard: Path, tmp_path: Path) -> None:
    label = next((orchard.parent / "labels" / "train").iterdir())
    before = label.read_text()
    label.write_text(before + "9 .5 .5 .1 .1\n")
    try:
        report = run(tmp_path / "c", "data", "check", orchard)
    finally:
        label.write_text(before)
    line = before.count("\n") + 1
    assert report["splits"]["train"]["images"] == 10
    (problem,) = report["problems"]
    assert f"{label.name}:{line}: class 9" in problem


def test_compress_ends_with_a_table_and_a_picture(run: Run, orchard: Path, tmp_path: Path) -> None:
    report = run(
        tmp_path / "c", "compress", "--data", orchard, "--cfg", "yolov5n", "--img", SIDE,
        "--adapt-epochs", 1, "--sparsity-epochs", 1, "--finetune-epochs", 1, "--batch", 4,
        "--nominal-batch", 4, "--percent", 0.4, "--repeats", 3, "--no-int8",
    )  # fmt: skip
    models = {model["role"]: model for model in report["models"]}
    assert set(models) == {"parent", "longer", "result"}
    for model in models.values():
        assert set(model["latency_ms_by_runtime"]) == {"torch fp32", "onnx fp32"}
        assert set(model["metrics"]["coco"]) == COCO_KEYS
        assert model["test_metrics"]["images"] == 2
    assert models["result"]["params"] < 0.8 * models["parent"]["params"]
    assert [row["step"] for row in report["steps"]] == [
        "adapted, dense",
        "dense, 2 more",
        "trained for sparsity",
        "pruned",
        "fine-tuned, pruned",
    ]
    best = max((models["parent"], models["longer"]), key=lambda m: m["metrics"]["map50_95"])
    assert report["verdict"]["fair"] == best["name"]
    assert report["verdict"]["met"] is None, "ten training images promise nothing"
    assert "far too few" in report["verdict"]["sentence"]
    folder = tmp_path / "c"
    assert (folder / "steps.md").read_text().count("\n") == 7
    for name in ("dense.onnx", "pruned.onnx", "pruned.safetensors", "before-after.jpg"):
        assert (folder / name).stat().st_size > 1000
    assert [stage["name"] for stage in report["stages"]][:3] == ["adapt", "val-dense", "longer"]
    judged = yaml.safe_load((folder / "recipe.yaml").read_text())["stages"][1]
    assert judged["weights"] == ["${adapt.best}"]
