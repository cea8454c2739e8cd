"""The page of a compress run: values by hand, what is missing, what is hostile, its size."""

import base64
import copy
import hashlib
import html
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from prunus.core.errors import ConfigError
from prunus.report import page as pages
from prunus.report.blocks import Paragraph, Table
from prunus.report.compressed import Compressed
from prunus.report.judged import float_twin
from prunus.report.page import MOST_BYTES, write_comparison, write_report
from prunus.report.sections import AFTER_PICTURES, BEFORE_PICTURES
from prunus.report.sections.channels import widths_of
from prunus.report.sections.models import models
from prunus.report.sections.provenance import artefacts
from prunus.report.sections.search import options, trials
from prunus.report.sections.steps import steps
from prunus.report.sources import Source, open_source
from prunus.report.verdict import lead, verdict

SECTIONS = [name for name, _, _ in (*BEFORE_PICTURES, *AFTER_PICTURES)]


def change(run: Path, **values: object) -> Compressed:
    report = {**json.loads((run / "report.json").read_text()), **values}
    (run / "report.json").write_text(json.dumps(report))
    return Compressed(open_source(run))


def written(run: Path, tmp_path: Path) -> str:
    write_report(run, tmp_path / "report.html")
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_whole_run_shows_every_section(run: Path, tmp_path: Path) -> None:
    done = write_report(run, tmp_path / "report.html")
    assert done.missing == {}
    assert done.size == done.path.stat().st_size < MOST_BYTES
    content = done.path.read_text(encoding="utf-8")
    for name in (*SECTIONS, "images"):
        assert f'<section id="{name}"' in content
    assert "Twice as fast, half a point lost." in content
    assert (
        content.index("The target was met") < content.index("Twice as fast") < content.index("<nav")
    )
    assert "No smaller model was given." in content


def test_against_the_fair_comparator_by_hand(run: Path) -> None:
    compressed = Compressed(open_source(run))
    fair, result = compressed.fair, compressed.result
    assert fair is not None and result is not None
    assert (fair.name, compressed.runtime) == ("dense, longer", "onnx fp32")
    assert compressed.speedup(result, "onnx fp32") == 2.0
    assert compressed.speedup(result, "torch fp32") == 1.5
    assert compressed.change(result, "val") == pytest.approx(-0.005)
    assert compressed.change(result, "test") == pytest.approx(-0.01)
    table = models(compressed)[1]
    assert isinstance(table, Table)
    assert [cell.text for cell in table.rows[2]] == [
        "pruned", "0.615", "−0.5", "0.815", "0.600", "−1.0", "2.00×", "1.50×", "250", "2.00"
    ]  # fmt: skip
    assert table.rows[2][1].detail == "0.565 to 0.665"
    assert table.rows[2][2].mood == "good"
    assert table.marked == [2]


def test_the_verdict_says_which_dense_model_is_the_fair_one(run: Path) -> None:
    """Training for as long may have made it worse; then the parent is what counts."""
    verdict_facts = json.loads((run / "report.json").read_text())["verdict"]
    compressed = change(run, verdict={**verdict_facts, "fair": "dense"})
    assert compressed.fair is not None
    assert compressed.fair.name == "dense"
    (words, *_) = [block for block in models(compressed) if isinstance(block, Paragraph)]
    assert "which as many extra epochs as the pruned one got did not make better" in words.text


def test_the_steps_show_what_came_between(run: Path, tmp_path: Path) -> None:
    table = steps(Compressed(open_source(run)))[1]
    assert isinstance(table, Table)
    assert [column.title for column in table.columns] == [
        "step", "mAP50-95", "mAP50", "test mAP50-95", "parameters", "MB", "torch fp32 ms",
        "ONNX Runtime fp32 ms",
    ]  # fmt: skip
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["dense", "0.600", "0.800", "–", "1,000", "8.00", "9.00", "–"],
        ["pruned, as cut", "0.300", "0.500", "–", "250", "–", "–", "–"],
        ["fine-tuned", "0.615", "0.815", "0.600", "250", "2.00", "6.00", "3.00"],
    ]
    assert [row[0].detail for row in table.rows] == ["", "on the way, not shipped", ""]
    assert [row[6].detail for row in table.rows] == ["1.00×", "", "1.50×"]
    assert "pruned, as cut<small>on the way, not shipped" in written(run, tmp_path)


def test_a_step_that_is_shipped_as_it_was_cut_is_not_on_the_way(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    *others, result = report["models"]
    compressed = change(run, models=[*others, {**result, "step": "pruned, as cut"}])
    table = steps(compressed)[1]
    assert isinstance(table, Table)
    assert [row[0].detail for row in table.rows] == ["", "", ""]
    assert table.marked == [1]


def test_trials_and_options_are_shown_with_their_why(run: Path, tmp_path: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    tried = [{**report["trials"][0], "why": "7 points lost"}, report["trials"][1]]
    compressed = change(run, trials=tried)
    drawn, table = trials(compressed)
    assert isinstance(table, Table)
    assert [[row[0].text, row[5].text, row[6].text] for row in table.rows] == [
        ["3.00", "no", "7 points lost"],
        ["2.00", "yes", ""],
    ]
    svg = drawn.figures[0].svg  # type: ignore[union-attr]
    assert svg.count('class="ring c1"') == svg.count('class="dot c0"') == 1
    (_, kept) = options(compressed)
    assert isinstance(kept, Table)
    assert [cell.text for cell in kept.rows[0]] == ["low rank", "no", "slower"]
    content = written(run, tmp_path)
    assert "7 points lost" in content and "slower" in content


def test_int8_is_the_result_where_the_verdict_ships_it(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    facts = {"latency_ms_by_runtime": {"onnx int8": 1.5}, "metrics": {"map50_95": 0.605}}
    int8 = {"name": "pruned-int8", "role": "quantized result", **facts}
    ships = {**report["verdict"], "ships": "pruned-int8"}
    compressed = change(run, models=[*report["models"], int8], verdict=ships)
    table = models(compressed)[1]
    assert isinstance(table, Table)
    assert table.marked == [3]
    assert [row[0].detail.split(" · ")[0] for row in table.rows[2:]] == [
        "pruned, in float",
        "shipped",
    ]
    assert [row[2].mood for row in table.rows] == ["", "", "", "bad"]
    tiles, target = lead(compressed)
    assert tiles.tiles[0].value == "4.00×"  # type: ignore[union-attr]
    assert "Reached: 4.00× speed-up, −1.5 points." in target.text  # type: ignore[union-attr]
    unknown = change(run, verdict={"ships": "nothing of the kind"})
    assert unknown.result is not None and unknown.result.name == "pruned"


def test_a_resumed_run_took_as_long_as_its_stages(run: Path, tmp_path: Path) -> None:
    assert "1 h 2 min of work" in written(run, tmp_path)
    change(run, seconds=10.0)
    assert "5 min 5 s of work" in written(run, tmp_path)  # five stages of 61 s


def test_int8_stands_where_its_float_twin_does(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    int8 = {"name": "int8", "role": "quantized result", "latency_ms_by_runtime": {"onnx int8": 1.5}}
    compressed = change(run, models=[*report["models"], int8])
    assert compressed.runtimes == ["onnx fp32", "torch fp32"]
    assert compressed.speedup(compressed.models[-1], "onnx fp32") == 4.0
    names = ("openvino int8 + bf16", "openvino int8 + fp32", "torch bf16", "")
    assert [float_twin(name) for name in names] == [
        "openvino bf16", "openvino fp32", "torch bf16", ""
    ]  # fmt: skip


def test_the_paired_comparison_is_told(run: Path) -> None:
    path = run / "07-val-result" / "report.json"
    report = json.loads(path.read_text())
    for more, words in ((True, "is more than noise."), (False, "cannot be told from noise.")):
        facts = {"difference": -0.005, "interval": [-0.011, 0.001], "more_than_noise": more}
        path.write_text(json.dumps({**report, "comparison": {"run": "x", "mAP50-95": facts}}))
        told = models(Compressed(open_source(run)))[0].text  # type: ignore[union-attr]
        assert told.endswith(f"the result's difference of −0.5 points (−1.1 to +0.1) {words}")


def test_only_the_cuts_of_what_is_shipped_count(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    shutil.copytree(run / "03-prune", run / "09-prune")
    line = {"folder": "09-prune", "name": "prune-2", "verb": "prune"}
    stages = [*report["stages"], line]
    assert [one.name for one in change(run, stages=stages).prunings()] == ["03-prune"]
    trials = [{"accepted": True, "chosen": True, "stages": ["prune-2"]}]
    assert [one.name for one in change(run, trials=trials).prunings()] == ["09-prune"]
    assert [one.name for one in change(run, trials=[]).prunings()] == ["09-prune"]


def test_the_lead_by_hand(run: Path) -> None:
    tiles, target = lead(Compressed(open_source(run)))
    shown = [(tile.value, tile.label) for tile in tiles.tiles]  # type: ignore[union-attr]
    assert shown == [
        ("2.00×", "as fast in onnx fp32"),
        ("−0.5", "points on validation"),
        ("−1.0", "points on test"),
        ("−75 %", "parameters"),
        ("−75 %", "operations"),
        ("−75 %", "file size"),
    ]
    assert target.text == (  # type: ignore[union-attr]
        "Target: 2.00× speed-up in onnx fp32, at most 1 point of mAP50-95 lost on validation. "
        "Reached: 2.00× speed-up, −0.5 points. Met."
    )


@pytest.mark.parametrize(
    ("found", "label", "mood"),
    [
        ({"met": True, "paid": False}, "Pruning did not pay", "bad"),
        ({"met": False, "paid": True}, "The target was not met", "bad"),
        ({"met": True, "paid": True}, "The target was met", "good"),
        ({"met": None, "paid": True}, "Pruning paid", "good"),
        ({"met": None, "paid": True, "doubts": ["too few images"]}, "No promise", ""),
        ({"met": None, "paid": False, "doubts": ["too few"]}, "Pruning did not pay", "bad"),
        ({}, "", ""),
    ],
)
def test_what_is_said_first(run: Path, found: dict[str, Any], label: str, mood: str) -> None:
    said = verdict(change(run, verdict={**found, "sentence": "So it is."}))
    assert (said.label, said.mood, said.sentence) == (label, mood, "So it is.")


def test_a_run_without_a_sentence_gets_one(run: Path) -> None:
    said = verdict(change(run, verdict=None))
    assert (
        said.sentence
        == "pruned against dense, longer: 2.00× in onnx fp32, −0.5 points of mAP50-95."
    )


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"kind": "latency_ms", "asked": 4}, "Target: 4.00 ms"),
        ({"kind": "latency_ms", "asked": 4}, "Reached: 3.00 ms"),
        ({"kind": "flops", "asked": 0.3}, "Reached: 0.25 share of the FLOPs"),
        ({"kind": "params", "asked": 0.3}, "Reached: 0.25 share of the parameters"),
        ({"kind": "size_mb", "asked": 3}, "Reached: 2.00 MB"),
        ({"kind": "percent", "asked": 0.5}, "Reached: 2.00 share of the channels"),
    ],
)
def test_every_kind_of_target(run: Path, target: dict[str, Any], words: str) -> None:
    assert words in lead(change(run, target=target))[1].text  # type: ignore[union-attr]


def test_widths_of_two_rounds_are_first_to_last() -> None:
    def stage(*widths: tuple[str, int, int]) -> Source:
        rows = [{"name": name, "before": old, "after": new} for name, old, new in widths]
        return Source(Path("x"), {"verb": "prune", "widths": rows})

    bars, _ = widths_of([stage(("a", 32, 16), ("b", 8, 8)), stage(("a", 16, 8))])
    assert [(bar.name, bar.before, bar.after) for bar in bars] == [("a", 32, 8), ("b", 8, 0)]


def test_every_file_has_its_sha256(run: Path) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    compressed = change(run, models=[{"name": "pruned", "role": "result", "sha256": digest},
                                     {"name": "lost", "sha256": "f" * 64}])  # fmt: skip
    warning, details = artefacts(compressed)
    assert warning.text == "No file has the SHA-256 that was reported of: lost."  # type: ignore[union-attr]
    rows = details.blocks[0].rows  # type: ignore[union-attr]
    by_name = {row[0].text: row for row in rows}
    assert by_name["pruned.safetensors"][2].text == digest
    assert by_name["pruned.safetensors"][3].text == "pruned"
    assert "03-prune/report.json" in by_name


@pytest.mark.parametrize(
    ("gone", "section", "why"),
    [
        ("06-val-longer", "images", "runs of prunus val of both models are not in the run folder"),
        ("06-val-longer/predictions.json", "images", "has no predictions.json"),
        ("07-val-result", "confusion", "of pruned has no confusion matrix"),
        ("03-prune/report.json", "channels", "no stage that prunes"),
        ("04-sensitivity", "sensitivity", "no stage measured it"),
        ("02-sparsity/report.json", "gammas", "no stage trained for sparsity"),
        ("../data/data.yaml", "images", "is not here"),
        ("../data/images", "images", "the data set cannot be read"),
    ],
)
def test_a_missing_piece_is_named(
    run: Path, tmp_path: Path, gone: str, section: str, why: str
) -> None:
    path = run / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = write_report(run, tmp_path / "report.html")
    assert why in done.missing[section]
    content = html.unescape(done.path.read_text(encoding="utf-8"))
    assert f"Not shown: {done.missing[section]}" in content


def test_trainings_without_results_are_named(run: Path, tmp_path: Path) -> None:
    for path in run.glob("*/results.csv"):
        path.unlink()
    for path in run.glob("*/events*"):
        path.unlink()
    missing = write_report(run, tmp_path / "report.html").missing
    assert missing == {
        "trainings": "no training has left a results.csv.",
        "gammas": "02-sparsity has no TensorBoard events.",
    }


def test_an_empty_report_names_everything(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "report.json").write_text('{"verb": "compress"}')
    done = write_report(run, tmp_path / "report.html")
    assert set(done.missing) == {*SECTIONS, "images"} - {"artefacts"}


HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&\x1b\u202e{{ 7 * 7 }}"


def poisoned(value: Any) -> Any:
    """Put a hostile text in place of each text, except those that find files and roles."""
    if isinstance(value, dict):
        return {key: item if key in KEPT else poisoned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    return HOSTILE if isinstance(value, str) else value


KEPT = ("verb", "role", "kind", "data", "split", "val_runs", "folder", "sha256", "runtime", "precision")  # fmt: skip  # noqa: E501


def test_hostile_texts_are_shown_as_they_are(tmp_path: Path, data: Path, run: Path) -> None:
    data.write_text(
        data.read_text().replace("plum", json.dumps(HOSTILE[:27])).replace("leaf", "<b>")
    )
    for path in run.rglob("report.json"):
        path.write_text(json.dumps(poisoned(json.loads(path.read_text()))))
    (run / "recipe.yaml").write_text(HOSTILE)
    hostile_run = run.rename(tmp_path / "<script>run")
    content = written(hostile_run, tmp_path)
    assert content.count("<script") == 1  # our own
    assert "<img" not in content and "onerror=alert(1)&gt;" in content
    assert "\x1b" not in content and "\u202e" not in content
    assert "{{ 7 * 7 }}" in content
    assert "&lt;script&gt;run" in content


def test_nothing_is_loaded_from_anywhere(run: Path, tmp_path: Path) -> None:
    content = written(run, tmp_path)
    addresses = re.findall(r'(?:src|href|action|data)="([^"]*)"', content)
    assert {address[:5] for address in addresses if not address.startswith("#")} == {"data:"}
    assert "http:" not in content and "https:" not in content and "@import" not in content
    assert not re.search(r'<[^>]*\s(?:style|on\w+)="', content)


def test_the_policy_allows_our_own_style_and_script_only(run: Path, tmp_path: Path) -> None:
    content = written(run, tmp_path)
    policy = html.unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', content)[0])
    for tag in ("style", "script"):
        (inner,) = re.findall(rf"<{tag}>(.*?)</{tag}>", content, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy


def test_large_images_become_smaller_and_then_go(
    run: Path, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (600, 600, 3), dtype=np.uint8)
    for name in ("a", "b"):
        Image.fromarray(noise).save(data.parent / "images" / "val" / f"{name}.png")
    whole = write_report(run, tmp_path / "whole.html").size
    without = write_report(run, tmp_path / "none.html", pictures=0).size
    monkeypatch.setattr(pages, "MOST_BYTES", (whole + without) // 2)
    smaller = write_report(run, tmp_path / "smaller.html")
    assert without < smaller.size <= (whole + without) // 2
    assert smaller.missing == {}
    monkeypatch.setattr(pages, "MOST_BYTES", without + 1000)
    done = write_report(run, tmp_path / "report.html")
    assert done.missing == {"images": "with images the page would be larger than 2 MB."}


def test_a_thousand_classes_and_many_runs_stay_small(run: Path, tmp_path: Path) -> None:
    rows = [{"name": f"class number {n}", "map50_95": 0.5} for n in range(1000)]
    for name in ("06-val-longer", "07-val-result"):
        path = run / name / "report.json"
        report = json.loads(path.read_text())
        report["confusion"]["names"] = [f"class number {n}" for n in range(200)]
        report["confusion"]["matrix"] = np.ones((200, 200), int).tolist()
        path.write_text(json.dumps(report))
    figures = {"map50_95": 0.5, "per_class": rows}
    report = json.loads((run / "report.json").read_text())
    change(run, models=[{**model, "metrics": figures} for model in report["models"]])
    assert write_report(run, tmp_path / "report.html").size < MOST_BYTES / 2
    many = [shutil.copytree(run, tmp_path / f"run{n}") for n in range(12)]
    assert write_comparison(many, tmp_path / "many.html").size < MOST_BYTES


def test_only_finished_compress_runs_have_such_a_page(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a run of train, not of compress"):
        write_report(run / "01-adapt", tmp_path / "report.html")
    with pytest.raises(ConfigError, match=r"nothing: no finished run of Prunus: its report\.json"):
        write_report(tmp_path / "nothing", tmp_path / "report.html")
    (run / "report.json").write_text("[" * 100_000)
    with pytest.raises(ConfigError, match="missing or damaged"):
        write_report(run, tmp_path / "report.html")


def test_no_name_leads_out_of_the_run(run: Path, data: Path) -> None:
    source = open_source(run)
    assert source.path("../data/data.yaml") is None
    assert source.path(str(data)) is None
    assert source.path("\0") is None
    assert source.inner("06-val-longer") is not None


JUNK = st.sampled_from(
    [None, True, -1, 0, 1e308, float("nan"), 10**400, "", "x", [], {}, [None], [[1]], {"a": {}},
     [{}], [{"name": 3}], "../..", [1, 2], -0.0]
)  # fmt: skip


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_damage_to_the_reports_is_a_crash(
    data: st.DataObject, run: Path, tmp_path: Path
) -> None:
    files = sorted(run.rglob("report.json"))
    path = data.draw(st.sampled_from(files))
    whole = path.read_text()
    report = json.loads(whole)
    broken = copy.deepcopy(report)
    place: Any = broken
    for _ in range(data.draw(st.integers(0, 4))):
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        keys = [key for key in keys if isinstance(place[key], dict | list) and place[key]]
        if not keys:
            break
        place = place[data.draw(st.sampled_from(keys))]
    key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
    if key == "verb" and path.parent == run:
        return
    place[key] = data.draw(JUNK)
    path.write_text(json.dumps(broken))
    try:
        write_report(run, tmp_path / "report.html")
        write_comparison([run, run / "01-adapt"], tmp_path / "both.html")
    except ConfigError as error:
        assert "no finished run" in str(error)
    finally:
        path.write_text(whole)
