"""The benchmark: who takes part, what a row says, and which model is named to be shipped."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunus.core.config import parse
from prunus.core.errors import ConfigError, ExportError
from prunus.core.records import Runner, Size
from prunus.export import contest
from prunus.export.backends import BACKENDS
from prunus.export.config import BenchmarkConfig
from prunus.export.contest import Contestant, run_benchmark
from prunus.export.engines import ENGINES
from prunus.export.form import Form
from prunus.export.ranking import (
    SAME,
    best_under,
    check_one_machine,
    other_packages,
    pareto_front,
    plot_pareto,
)
from prunus.model.detector import Detector
from prunus.weights.native import save_weights


@pytest.fixture(scope="module")
def weights(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "plums.safetensors"
    save_weights(detector, path, licence="Apache-2.0")
    return path


def config(*models: Path, **settings: object) -> BenchmarkConfig:
    values = {"weights": models, "image_size": (64,), "repeats": 2, "warmup": 1, **settings}
    return parse(BenchmarkConfig, values)


@pytest.mark.integration
def test_every_runtime_precision_size_and_thread_count_is_a_row(
    weights: Path, tmp_path: Path
) -> None:
    asked: list[tuple[Size, Size | None]] = []

    def judge(runner: Runner, size_hw: Size) -> float:
        asked.append((size_hw, runner.size_hw))
        return len(asked) / 100

    settings = config(
        weights,
        runtimes=("torch", "torchscript", "onnx", "openvino"),
        precisions=("fp32", "bf16"),
        image_size=(64, 96),
        threads=(1, 2),
    )
    rows = run_benchmark(settings, tmp_path, judge)
    kinds = {
        (
            r.contestant.runtime,
            r.contestant.precision,
            r.contestant.size_hw[0],
            r.contestant.threads,
        )
        for r in rows
    }
    both = ("torch", "openvino")
    assert kinds == {
        (runtime, precision, side, threads)
        for runtime in (*both, "torchscript", "onnx")
        for precision in (("fp32", "bf16") if runtime in both else ("fp32",))
        for side in (64, 96)
        for threads in (1, 2)
    }
    assert len(rows) == len(kinds) == 2 * len(asked), "one accuracy for both thread counts"
    told: dict[object, set[float | None]] = {}
    for row in rows:
        told.setdefault(replace(row.contestant, threads=1), set()).add(row.map50_95)
    assert all(len(accuracies) == 1 for accuracies in told.values())
    assert set.union(*told.values()) == {(n + 1) / 100 for n in range(len(asked))}
    assert all(own in (None, size_hw) for size_hw, own in asked)
    for side in (64, 96):  # the yardstick is of the same size
        first, *others = (row for row in rows if row.contestant.size_hw[0] == side)
        assert first.speedup == 1
        for row in others:
            ratio = first.latency.median_ms / row.latency.median_ms
            assert row.speedup == pytest.approx(ratio)
    assert all(row.peak_mb > 50 and row.latency.repeats == settings.repeats for row in rows)
    assert all(row.clock == ("own" if row.contestant.threads == 1 else "wall") for row in rows)
    script = next(row for row in rows if row.contestant.runtime == "openvino")
    pair = [script.contestant.path, script.contestant.path.with_suffix(".bin")]
    assert script.megabytes == pytest.approx(sum(path.stat().st_size for path in pair) / 1e6)


@pytest.mark.integration
def test_who_cannot_take_part_is_left_out_and_the_others_run(
    weights: Path, detector: Detector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other_size = tmp_path / "large.onnx"
    BACKENDS["onnx"].write(detector, other_size, Form((96, 96)))  # type: ignore[misc]
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    rows = run_benchmark(config(other_size, broken, weights), tmp_path / "run")
    assert [row.contestant.model.name for row in rows] == ["plums.safetensors"] * 2
    told = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(told) == 2
    assert "takes 96x96 pixels only, got 64x64" in told[0]
    assert "not an ONNX file" in told[1]
    with pytest.raises(ExportError, match="none of torch, onnx runs these models"):
        run_benchmark(config(broken), tmp_path / "none")


def test_a_model_that_is_named_twice_is_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"--weights: .*plums\.safetensors is given twice"):
        run_benchmark(config(weights, weights), tmp_path)


@pytest.mark.parametrize(
    ("stored", "runtime", "shown"),
    [
        ("fp32", "onnx", "fp32"),
        ("fp16", "openvino", "bf16"),
        ("int8", "onnx", "int8"),
        ("int8", "openvino", "int8 + bf16"),
    ],
)
def test_the_precision_of_a_row_says_what_is_computed_in(
    stored: str, runtime: str, shown: str
) -> None:
    asked = "bf16" if runtime == "openvino" else "fp32"
    entry = Contestant(Path("m"), runtime, asked, (64, 64), 1, Path("m"))
    runner: Any = SimpleNamespace(facts=SimpleNamespace(precision=stored))
    assert contest._shown_precision(entry, runner) == shown


@pytest.mark.integration
def test_files_of_another_batch_are_left_out(
    detector: Detector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "one.onnx"
    BACKENDS["onnx"].write(detector, path, Form((64, 64)))  # type: ignore[misc]
    with pytest.raises(ExportError, match="none of torch, onnx runs these models"):
        run_benchmark(config(path, batch_size=2), tmp_path / "run")
    assert "takes batches of 1 only, got 2" in caplog.text


@pytest.mark.integration
def test_a_crash_in_the_race_loses_one_row_only(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "prunus_crash_later.py").write_text(
        "import os\n"
        "def start(content, options):\n"
        "    calls = []\n"
        "    def run(images):\n"
        "        calls.append(1)\n"
        "        if len(calls) == 3: os.abort()\n"
        "        return images.astype('float32')\n"
        "    return run\n"
    )
    (tmp_path / "sitecustomize.py").write_text(
        "import prunus.export.engines as e; e.ENGINES['torch'] = 'prunus_crash_later'\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    assert "torch" in ENGINES
    rows = run_benchmark(config(weights, repeats=5), tmp_path / "run")
    assert [row.contestant.runtime for row in rows] == ["onnx"]
    assert any("crashed on it (SIGABRT)" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"pareto": True}, "--pareto: needs accuracies"),
        ({"best_under": "10ms"}, "--best-under: needs accuracies"),
        ({"best_under": "soon", "data": "x.yaml"}, "best-under"),
        ({"best_under": -1, "data": "x.yaml"}, "best-under"),
        ({"precisions": ("int4",)}, "int4"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        config(Path("x.onnx"), **settings)


def test_milliseconds_may_be_named() -> None:
    assert config(Path("x"), best_under="10ms", data="d.yaml").best_under == 10
    assert config(Path("x"), best_under=2.5, data="d.yaml").best_under == 2.5


def row(ms: float, accuracy: float | None, **facts: object) -> dict[str, Any]:
    return {
        "model": "m.onnx", "runtime": "onnx", "precision": "fp32", "size_hw": [64, 64],
        "latency_ms": ms, "iqr_ms": 0.1, "map50_95": accuracy,
        "machine": {"processor": "a", "cores": 2, "memory_gb": 8, "system": "s", "gpu": None},
        **facts,
    }  # fmt: skip


def test_the_front_and_the_best_by_hand() -> None:
    rows = [row(9, 0.5), row(5, 0.3), row(6, 0.2), row(7, 0.4), row(12, 0.5), row(1, None)]
    assert [(r["latency_ms"], r["map50_95"]) for r in pareto_front(rows)] == [
        (5, 0.3), (7, 0.4), (9, 0.5),
    ]  # fmt: skip
    best = best_under(rows, 8)
    assert best is not None and best["latency_ms"] == 7
    assert best_under(rows, 4.9) is None
    exactly = best_under(rows, 5)
    assert exactly is not None and exactly["latency_ms"] == 5


@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(0, 1)), min_size=1, max_size=20))
def test_nothing_beats_the_front(points: list[tuple[float, float]]) -> None:
    rows = [row(ms, accuracy) for ms, accuracy in points]
    front = pareto_front(rows)
    for one in rows:
        assert any(
            f["latency_ms"] <= one["latency_ms"] and f["map50_95"] >= one["map50_95"] for f in front
        )
    for one in front:
        assert not any(
            f is not one
            and f["latency_ms"] <= one["latency_ms"]
            and f["map50_95"] >= one["map50_95"]
            for f in front
        )


def test_figures_of_another_machine_are_refused() -> None:
    here, there = row(1, 0.1), row(1, 0.1)
    check_one_machine(here, [there], "x.jsonl")
    there["machine"] = {**there["machine"], "processor": "b"}
    match = r"x\.jsonl: measured on another machine \(processor: b, here a\)"
    with pytest.raises(ExportError, match=match):
        check_one_machine(here, [there], "x.jsonl")


@pytest.mark.parametrize("fact", SAME)
def test_every_fact_of_a_machine_counts(fact: str) -> None:
    here, there = row(1, 0.1), row(1, 0.1)
    there["machine"] = {**there["machine"], fact: "another"}
    with pytest.raises(ExportError, match=rf"\({fact}: another, here "):
        check_one_machine(here, [row(1, 0.1), there], "x.jsonl")


def test_packages_of_other_versions_are_named() -> None:
    here = {"torch": "2.13.0", "numpy": "2.4", "openvino": "not installed"}
    same, older, oldest = (
        row(1, 0.1, packages={**here, **other})
        for other in ({}, {"torch": "2.12.0"}, {"torch": "2.9", "openvino": "2026.1\x1b[2J"})
    )
    assert other_packages(here, []) == other_packages(here, [same, row(1, 0.1)]) == []
    assert other_packages(here, [same, older]) == ["torch 2.12.0 (here 2.13.0)"]
    assert other_packages(here, [older, oldest]) == [
        "torch 2.12.0 and 2.9 (here 2.13.0)",
        "openvino 2026.1\\x1b[2J (here not installed)",
    ]


def test_the_front_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "pareto.png"
    formula = r"$\nosuch{$.onnx"  # what matplotlib would try to typeset
    plot_pareto(path, [row(5, 0.3, model=formula), row(9, 0.5), row(1, None)])
    assert path.read_bytes().startswith(b"\x89PNG")
