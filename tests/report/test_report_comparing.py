"""Runs of any verbs side by side: values by hand."""

import json
from pathlib import Path
from typing import Any

from prunus.report.blocks import Table
from prunus.report.comparing import comparison_page, named
from prunus.report.measured import measured
from prunus.report.sources import Source


def source(tmp_path: Path, name: str, verb: str, **report: Any) -> Source:
    folder = tmp_path / name
    folder.mkdir(parents=True, exist_ok=True)
    content = {"verb": verb, **report}
    (folder / "report.json").write_text(json.dumps(content))
    return Source(folder, content)


def runs(tmp_path: Path) -> list[Source]:
    model = {"params": 10, "gflops": 2.0, "file_mb": 1.0}
    data = {"data": {"path": "d.yaml", "sha256": "a"}}
    return [
        source(tmp_path, "t", "train", model=model, metrics={"map50_95": 0.5}, inputs=data,
               settings={"epochs": 3, "hyp": {"lr0": 0.1}, "out": "t"}),
        source(tmp_path, "v", "val", metrics={"map50_95": 0.6},
               bootstrap={"map50_95": [0.5, 0.7]}, inputs=data, settings={"epochs": 3}),
        source(tmp_path, "p", "prune",
               before={**model, "latency_ms": 4.0, "metrics": {"map50_95": 0.5}},
               after={**model, "latency_ms": 2.0, "metrics": {"map50_95": 0.4}}),
        source(tmp_path, "q", "quantize", format="onnx",
               rows=[{"name": "int8", "map50_95": 0.55, "ms": 1.5}]),
        source(tmp_path, "b", "benchmark",
               rows=[{"model": "/x/m.onnx", "runtime": "onnx", "precision": "fp32", "threads": 2,
                      "latency_ms": 9.0, "map50_95": None}]),
    ]  # fmt: skip


def test_every_verb_gives_its_rows(tmp_path: Path) -> None:
    rows = [row for one in runs(tmp_path) for row in measured(one.name, one)]
    assert [(row.title, row.map50_95, row.runtime, row.latency_ms) for row in rows] == [
        ("t", 0.5, "", None),
        ("v", 0.6, "", None),
        ("p: before", 0.5, "torch fp32", 4.0),
        ("p: pruned", 0.4, "torch fp32", 2.0),
        ("q: int8", 0.55, "onnx", 1.5),
        ("b: m.onnx", None, "onnx fp32, 2 thr", 9.0),
    ]
    assert rows[1].spread == (0.5, 0.7)


def test_a_compress_run_gives_a_row_a_model_and_runtime(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    rows = measured("c", Source(run, report))
    assert [(row.model, row.runtime) for row in rows] == [
        ("dense", "onnx fp32"),
        ("dense", "torch fp32"),
        ("dense, longer", ""),
        ("pruned", "onnx fp32"),
        ("pruned", "torch fp32"),
    ]


def test_the_page_by_hand(tmp_path: Path) -> None:
    page = comparison_page(runs(tmp_path))
    assert page.title == "5 runs compared"
    assert page.verdict.sentence == (
        "Most accurate: v, mAP50-95 0.600. Fastest: q: int8, 1.50 ms in onnx. Milliseconds of "
        "different runs compare roughly, of different machines not at all."
    )
    by_name = {section.name: section for section in page.sections}
    assert by_name["trainings"].missing == "no training has left a results.csv."
    (settings,) = by_name["settings"].blocks
    assert isinstance(settings, Table)
    assert [[cell.text for cell in row] for row in settings.rows] == [
        ["epochs", "3", "3", "", "", ""],
        ["hyp.lr0", "0.1", "", "", "", ""],
    ]


def test_accuracies_on_different_data_are_not_compared(tmp_path: Path) -> None:
    first, second, *_ = runs(tmp_path)
    other = {"inputs": {"data": {"sha256": "b"}}}
    second = Source(second.folder, {**second.report, **other})
    said = comparison_page([first, second]).verdict
    assert said.label == "Judged on different data: the accuracies do not compare"
    assert "Most accurate" not in said.sentence


def test_one_run_is_a_page_too(tmp_path: Path) -> None:
    page = comparison_page(runs(tmp_path)[:1])
    assert page.title == "A run of train"
    assert {section.name for section in page.sections if section.missing} == {
        "latency", "trainings", "settings"
    }  # fmt: skip


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    same = [source(tmp_path, f"{folder}/exp", "val") for folder in ("a", "b")]
    assert list(named(same)) == ["a/exp", "b/exp"]
    assert list(named([same[0], same[0]])) == [
        f"{tmp_path.name}/a/exp",
        f"{tmp_path.name}/a/exp (2)",
    ]
