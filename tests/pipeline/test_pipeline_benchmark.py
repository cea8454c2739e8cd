"""The verb: what stands in the folder, and beside an earlier run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prunus.cli.benchmark import status
from prunus.core.config import parse
from prunus.core.errors import ExportError
from prunus.export.config import BenchmarkConfig
from prunus.pipeline.benchmark import benchmark

pytestmark = pytest.mark.integration


def run(weights: Path, out: Path, **values: object) -> dict[str, Any]:
    settings = {
        "weights": (weights,), "image_size": (64,), "repeats": 2, "warmup": 0,
        "runtimes": ("torch",), "out": out, **values,
    }  # fmt: skip
    return benchmark(parse(BenchmarkConfig, settings))


def test_accuracy_stands_beside_speed_and_a_model_is_named(
    weights: Path, orchard: Path, tmp_path: Path
) -> None:
    report = run(
        weights, tmp_path / "a", data=orchard, runtimes=("torch", "onnx"), pareto=True,
        best_under="60000ms",
    )  # fmt: skip
    lines = (tmp_path / "a" / "benchmark.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == report["rows"]
    torch_row, onnx_row = report["rows"]
    assert torch_row["map50_95"] == pytest.approx(onnx_row["map50_95"], abs=2e-4)
    assert torch_row["machine"]["cores"] and torch_row["packages"]["torch"]
    assert (tmp_path / "a" / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert report["best"] in report["rows"]
    assert status(report) == 0


def test_none_fast_enough_keeps_the_figures_and_exits_with_1(
    weights: Path, orchard: Path, tmp_path: Path
) -> None:
    report = run(weights, tmp_path / "a", data=orchard, best_under=0.001)
    assert report["best"] is None
    assert status(report) == 1
    assert (tmp_path / "a" / "report.json").exists()


def test_an_earlier_run_stands_beside_unless_it_is_of_another_machine(
    weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = run(weights, tmp_path / "a")
    rows = tmp_path / "a" / "benchmark.jsonl"
    assert run(weights, tmp_path / "b", beside=rows)["beside"] == first["rows"]
    assert "other packages" not in caplog.text
    foreign = json.loads(rows.read_text("utf-8"))
    foreign["packages"]["numpy"] = "1.0"
    rows.write_text(json.dumps(foreign) + "\n", "utf-8")
    run(weights, tmp_path / "older", beside=rows)
    assert f"{rows}: measured with other packages: numpy 1.0 (here {np.__version__})" in caplog.text
    foreign["machine"]["processor"] = "another"
    rows.write_text(json.dumps(foreign) + "\n", "utf-8")
    with pytest.raises(ExportError, match=r"benchmark\.jsonl: measured on another machine"):
        run(weights, tmp_path / "c", beside=rows)
    rows.write_text('{"model": 1}\n', "utf-8")
    with pytest.raises(ExportError, match=r"benchmark\.jsonl: not the benchmark\.jsonl of a prun"):
        run(weights, tmp_path / "d", beside=rows)
