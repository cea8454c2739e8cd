"""Rounds, rewinding and other activations in one run: which stages there are, and what ships."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from prunus.core.config import parse
from prunus.pipeline.compress import options
from prunus.pipeline.compress.config import CompressConfig
from prunus.pipeline.compress.run import compress
from prunus.weights.files import load_weights


def test_two_rounds_rewound_with_another_activation(
    orchard: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "FASTER", 0.0)  # the option is taken, whatever the machine
    values = {
        "data": orchard, "weights": weights, "image_size": 64, "adapt_epochs": 1,
        "finetune_epochs": 2, "batch_size": 4, "nominal_batch": 4, "flops": 0.5, "rounds": 2,
        "rewind": 1, "activation": "relu", "int8": False, "repeats": 3, "bootstrap": 0,
        "criterion": "l2", "repair": "none", "out": tmp_path / "c",
    }  # fmt: skip
    report = compress(parse(CompressConfig, values))
    names = [stage["name"] for stage in report["stages"]]  # type: ignore[attr-defined]
    assert names[4:17] == [
        "try-activation", "time-activation",
        "prune-1-1", "rewind-1-1", "activation-1-1", "time-1-1", "finetune-1-1",
        "prune-1-2", "rewind-1-2-1", "rewind-1-2", "activation-1-2", "time-1-2", "finetune-1-2",
    ]  # fmt: skip
    recipe = yaml.safe_load((tmp_path / "c" / "recipe.yaml").read_text())
    stages = {stage["stage"]: stage for stage in recipe["stages"]}
    assert stages["rewind-1-2-1"]["weights"] == "${adapt.folder}/epoch1.safetensors"
    assert stages["rewind-1-2-1"]["plan"] == "${prune-1-1.plan}"
    assert stages["rewind-1-2"]["plan"] == "${prune-1-2.plan}"
    assert stages["finetune-1-2"]["weights"] == "${activation-1-2.weights}"
    shipped = load_weights(tmp_path / "c" / "pruned.safetensors").detector
    assert shipped.spec.activation == "relu"
    (trial,) = report["trials"]  # type: ignore[misc]
    assert trial["achieved"] == pytest.approx(2, rel=0.1)
    html = (tmp_path / "c" / "report.html").read_text(encoding="utf-8")
    assert "far too few" in html, "the page says that nothing can be promised"


def test_all_that_may_do_without_pruning_stands_in_the_table(
    orchard: Path, weights: Path, tmp_path: Path
) -> None:
    content = yaml.safe_load(orchard.read_text())
    del content["test"]
    data = tmp_path / "untested.yaml"
    data.write_text(yaml.safe_dump({**content, "path": str(orchard.parent)}))
    values = {
        "data": data, "weights": weights, "smaller": weights, "from_scratch": True,
        "image_size": 64, "adapt_epochs": 0, "finetune_epochs": 1, "batch_size": 4,
        "nominal_batch": 4, "flops": 0.6, "repeats": 3, "bootstrap": 10, "criterion": "l2",
        "repair": "none", "out": tmp_path / "c",
    }  # fmt: skip
    report: dict[str, Any] = compress(parse(CompressConfig, values))
    assert [model["role"] for model in report["models"]] == [
        "parent", "longer", "smaller", "scratch", "quantized parent", "quantized result", "result"
    ]  # fmt: skip
    assert [one["option"] for one in report["options"]] == [
        "INT8 of the dense model",
        "INT8 of the pruned model",
    ]
    ships = report["verdict"]["ships"]
    int8 = {model["name"]: model for model in report["models"]}["pruned-int8"]
    assert int8["runtime_file"] == "pruned-int8.onnx"
    assert set(int8["latency_ms_by_runtime"]) == {"onnx int8"}
    assert ships in ("pruned", "pruned-int8")
    assert report["not_done"] == ["No figures on a test split: the data set has none."]
    assert all(model["test_metrics"] is None for model in report["models"])
    assert sum(trial["chosen"] for trial in report["trials"]) == 1
    names = [stage["name"] for stage in report["stages"]]
    assert not any(name.startswith("test-") for name in names)
