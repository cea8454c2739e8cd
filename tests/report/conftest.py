"""A small finished compress run, written by hand: every figure in it is known."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from prunus.train.logs import COLUMNS

NAMES = ("plum", "leaf")
SIDE = 64
LABELS = {"a": [(0, 0.25, 0.25, 0.25, 0.25), (1, 0.75, 0.75, 0.25, 0.25)], "b": [(0, 0.5, 0.5, 0.5, 0.5)]}  # fmt: skip  # noqa: E501
"""By image: class, centre and size as shares. In pixels the boxes are 8-24, 40-56, 16-48."""


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_data(folder: Path) -> Path:
    """Two validation images with three objects, as YOLO files."""
    rng = np.random.default_rng(0)
    for name, rows in LABELS.items():
        image = folder / "images" / "val" / f"{name}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)).save(image)
        label = folder / "labels" / "val" / f"{name}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))
    data = folder / "data.yaml"
    spec = {"path": ".", "train": "images/val", "val": "images/val", "names": list(NAMES)}
    data.write_text(yaml.safe_dump(spec))
    return data


def metrics(map50_95: float, plum: float, leaf: float) -> dict[str, Any]:
    per_class = [{"name": "plum", "map50_95": plum}, {"name": "leaf", "map50_95": leaf}]
    return {"map50": map50_95 + 0.2, "map50_95": map50_95, "per_class": per_class}


def write_val(folder: Path, data: Path, figures: Mapping[str, Any], found: list[Any]) -> None:
    centre = figures["map50_95"]
    write_json(
        folder / "report.json",
        {
            "verb": "val",
            "settings": {"data": str(data), "split": "val", "task": None, "single_class": False},
            "metrics": figures,
            "data": {"split": "val", "images": 2},
            "bootstrap": {
                "map50_95": [centre - 0.05, centre + 0.05],
                "per_class": [{"name": "plum", "map50_95": [0.3, 0.7]}],
            },
            "confusion": {
                "confidence": 0.25,
                "iou": 0.45,
                "names": [*NAMES, "nothing"],
                "matrix": [[2, 0, len(found)], [0, 1, 0], [0, 0, 0]],
            },
        },
    )
    write_json(folder / "predictions.json", found)


def found(image: int, class_: int, box: tuple[float, float, float, float], score: float) -> Any:
    left, top, right, bottom = box
    return {
        "image_id": image,
        "category_id": class_,
        "bbox": [left, top, right - left, bottom - top],
        "score": score,
    }


def write_training(folder: Path, epochs: int, **settings: object) -> None:
    write_json(folder / "report.json", {"verb": "train", "seconds": 60.0, "settings": settings})
    with (folder / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for epoch in range(epochs):
            writer.writerow({name: epoch if name == "epoch" else 0.1 * epoch for name in COLUMNS})


def write_events(folder: Path, epochs: range, value: float = 0.5) -> Path:
    """Write what a sparsity training writes: 100 gammas, a share of them near 0."""
    from torch.utils.tensorboard.summary import histogram, scalar

    from prunus.train.loggers.events import Events
    from prunus.train.loggers.tensorboard import BINS

    known = set(folder.glob("events*"))
    events = Events(folder, epochs.start)
    for epoch in epochs:
        gammas = np.linspace(0, value, 100)
        events.add(scalar("gamma/below_0.01", 0.01 * epoch), epoch)
        events.add(histogram("gamma/all", gammas, BINS), epoch)
    events.close()
    return (set(folder.glob("events*")) - known).pop()


def write_run(folder: Path, data: Path) -> Path:
    """Write the run: dense .60, longer .62, pruned .615 at twice the speed."""
    everything = [
        found(0, 0, (8, 8, 24, 24), 0.9),
        found(0, 1, (40, 40, 56, 56), 0.8),
        found(1, 0, (16, 16, 48, 48), 0.7),
    ]
    write_val(folder / "06-val-longer", data, metrics(0.62, 0.64, 0.6), everything)
    less = [everything[0], found(1, 1, (0, 0, 16, 16), 0.6), found(1, 0, (16, 16, 48, 48), 0.2)]
    write_val(folder / "07-val-result", data, metrics(0.615, 0.65, 0.58), less)
    write_training(folder / "01-adapt", 4)
    write_training(folder / "02-sparsity", 3, sparsity="auto")
    write_events(folder / "02-sparsity", range(3))
    write_json(
        folder / "03-prune" / "report.json",
        {
            "verb": "prune",
            "widths": [
                {"name": "model.0.conv", "before": 16, "after": 8, "reason": ""},
                {"name": "model.1.conv+model.2.conv", "before": 32, "after": 32, "reason": "tied"},
            ],
        },
    )
    write_json(
        folder / "04-sensitivity" / "report.json",
        {
            "verb": "sensitivity",
            "score": "map50_95",
            "settings": {"max_drop": 0.03},
            "groups": [
                {"group": "model.0.conv", "ratios": [0.5, 0.75], "drops": [0.1, 0.9], "safe": 0.2}
            ],
        },
    )
    write_training(folder / "05-finetune", 5)
    (folder / "pruned.safetensors").write_bytes(b"weights")
    (folder / "recipe.yaml").write_text("stages:\n  - prune: {speedup: 2.0}\n")
    (folder / "config.yaml").write_text("speedup: 2.0\n")
    stages = ("01-adapt train", "02-sparsity train", "03-prune prune", "04-sensitivity sensitivity", "05-finetune train")  # fmt: skip  # noqa: E501
    write_json(folder / "report.json", _report(data, stages))
    return folder


def _model(name: str, role: str, map50_95: float, **facts: object) -> dict[str, object]:
    base = {"step": f"{name}, made", "params": 1000, "gflops": 4.0, "file_mb": 8.0}
    return {**base, "name": name, "role": role, "metrics": {"map50_95": map50_95}, **facts}


def _report(data: Path, stages: tuple[str, ...]) -> dict[str, object]:
    small = {"params": 250, "gflops": 1.0, "file_mb": 2.0}
    dense, slim = metrics(0.62, 0.64, 0.6), metrics(0.615, 0.65, 0.58)
    return {
        "schema_version": 1,
        "verb": "compress",
        "finished": "2026-01-02T03:04:05+00:00",
        "seconds": 3723.0,
        "inputs": {"data": {"path": str(data), "sha256": "d" * 64}},
        "settings": {"data": str(data), "weights": "yolov5n.pt", "image_size": 64},
        "target": {"kind": "speedup", "asked": 2.0, "max_drop": 1.0, "runtime": "onnx",
                   "precision": "fp32", "threads": 1},
        "verdict": {"met": True, "paid": True, "sentence": "Twice as fast, half a point lost."},
        "models": [
            _model("dense", "parent", 0.60,
                   latency_ms_by_runtime={"onnx fp32": 6.0, "torch fp32": 9.0}),
            _model("dense, longer", "longer", 0.62, metrics=dense,
                   val_runs={"val": "06-val-longer"}, test_metrics={"map50_95": 0.61}),
            _model("pruned", "result", 0.615, metrics=slim, val_runs={"val": "07-val-result"},
                   test_metrics={"map50_95": 0.60}, **small,
                   latency_ms_by_runtime={"onnx fp32": 3.0, "torch fp32": 6.0}),
        ],
        "between": [{"name": "prune-1", "step": "pruned, as cut", "metrics": {"map50_95": 0.3}}],
        "steps": [
            {"step": "dense", "map50": 0.8, "map50_95": 0.60, "test_map50_95": None, "params": 1000,
             "gflops": 4.0, "file_mb": 8.0, "latency_ms": {"torch fp32": 9.0}},
            {"step": "pruned, as cut", "map50": 0.5, "map50_95": 0.3, "test_map50_95": None,
             "params": 250, "gflops": 1.0, "file_mb": None, "latency_ms": {}},
            {"step": "fine-tuned", "map50": 0.815, "map50_95": 0.615, "test_map50_95": 0.60,
             "params": 250, "gflops": 1.0, "file_mb": 2.0,
             "latency_ms": {"torch fp32": 6.0, "ONNX Runtime fp32": 3.0}},
        ],
        "trials": [
            {"asked": 3.0, "achieved": 2.9, "rounds": 1, "map50_95": 0.55, "drop": 7.0,
             "accepted": False, "stages": []},
            {"asked": 2.0, "achieved": 2.0, "rounds": 2, "map50_95": 0.615, "drop": 0.5,
             "accepted": True, "chosen": True, "stages": ["prune", "finetune"]},
        ],
        "options": [{"option": "low rank", "accepted": False, "why": "slower"}],
        "stages": [
            {"folder": stage.split()[0], "name": stage.split()[0][3:], "verb": stage.split()[1],
             "seconds": 61.0}
            for stage in stages
        ],
        "not_done": ["No smaller model was given."],
        "recipe": "recipe.yaml",
        "machine": {"processor": "AMD EPYC", "cores": 2},
        "packages": {"torch": "2.13.0"},
    }  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


@pytest.fixture
def run(tmp_path: Path, data: Path) -> Path:
    return write_run(tmp_path / "run", data)
