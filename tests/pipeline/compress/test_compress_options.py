"""Rounds, rewinding and other activations in one run: which stages there are, and what ships."""

from pathlib import Path

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
