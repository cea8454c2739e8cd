"""`prunus quantize` on files: what it writes, whom it judges by, and what it exits with."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from prunus.cli import quantize as cli
from prunus.core.config import parse
from prunus.core.errors import ConfigError, DataError
from prunus.core.files import sha256
from prunus.data.index import ImageIndex
from prunus.data.scenes.write import write_demo
from prunus.data.spec import read_data
from prunus.export.backends import find_writer, open_runner
from prunus.export.facts import Origin
from prunus.export.quantize.config import QuantizeConfig
from prunus.export.quantize.outcome import Row
from prunus.export.quantize.search import Found, Trial
from prunus.model.detector import Detector
from prunus.pipeline import quantize as verb
from prunus.pipeline import quantize_subject
from prunus.weights.files import load_weights
from prunus.weights.native import save_weights

pytestmark = pytest.mark.integration
SIDE = 64


@pytest.fixture(scope="module")
def orchard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "orchard"
    return write_demo(folder, train=10, val=4, test=1, image_size=SIDE, seed=0)


@pytest.fixture(scope="module")
def weights(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "lively.safetensors"
    save_weights(detector, path)
    return path


def run(weights: Path, data: Path, out: Path, **words: Any) -> dict[str, Any]:
    given = {"image_size": SIDE, "method": "mse", "max_drop": 1, **words}
    settings = parse(QuantizeConfig, {"weights": weights, "data": data, "out": out, **given})
    return cli.run(settings)  # type: ignore[return-value]


def test_the_file_runs_and_the_report_says_what_it_cost(
    weights: Path, orchard: Path, tmp_path: Path
) -> None:
    report = run(weights, orchard, tmp_path / "run")
    path = Path(report["path"])
    assert path == tmp_path / "run" / "lively-int8.onnx"
    runner = open_runner(path, device="cpu")
    assert runner.size_hw == (SIDE, SIDE)
    assert json.loads((tmp_path / "run" / "report.json").read_text())["sha256"] == report["sha256"]
    assert [row["name"] for row in report["rows"]] == ["float", "int8"]
    small, large = report["rows"][1]["file_mb"], report["rows"][0]["file_mb"]
    assert small < 0.5 * large
    assert report["images"] == {"calibration": 5, "judging": 5, "validation": 4}
    assert (report["within_max_drop"], cli.status(report)) == (True, 0)


def test_calibration_and_search_see_training_images_only(
    weights: Path, orchard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[Path]] = []
    batches = quantize_subject.validation_batches

    def watched(index: ImageIndex, *rest: Any, **words: Any) -> Any:
        seen.append(set(index.paths))
        return batches(index, *rest, **words)

    monkeypatch.setattr(quantize_subject, "validation_batches", watched)
    run(weights, orchard, tmp_path / "run")
    calibration, judging, validation = seen[0], seen[1], seen[-1]
    assert not calibration & judging
    assert not validation & (calibration | judging)
    assert all("train" in path.parts for path in calibration | judging)
    assert all("val" in path.parts for path in validation)
    assert {frozenset(paths) for paths in seen} == {
        frozenset(calibration), frozenset(judging), frozenset(validation)
    }  # fmt: skip


def test_layers_go_back_to_float_until_it_is_enough(
    weights: Path, orchard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judge by a made-up figure: 3 layers in float are enough."""
    monkeypatch.setattr(verb, "search", _search_for(3))
    report = run(weights, orchard, tmp_path / "run", floating=("0",))
    returned = report["float_layers"]
    assert [row["why"] for row in returned] == ["--float", "search", "search", "search"]
    assert returned[0]["layer"] == "/detector/model.0/conv/Conv"
    shares = [row["noise_share"] for row in returned[1:]]
    assert shares == sorted(shares, reverse=True)
    assert [row["name"] for row in report["rows"]] == ["float", "int8", "int8, some float"]
    assert report["rows"][2]["file_mb"] > report["rows"][1]["file_mb"]
    assert report["search"]["reached"] is True


def _search_for(needed: int) -> Any:
    original = verb.search

    def search(order_of: Any, accuracy_of: Any, **words: Any) -> Any:
        del accuracy_of
        return original(
            order_of, lambda floating: float(len(floating) >= needed), **words | {"least": 1.0}
        )

    return search


def test_what_cannot_be_reached_is_written_said_and_exits_with_1(
    weights: Path,
    orchard: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(verb, "search", _search_for(999))
    report = run(weights, orchard, tmp_path / "run", max_trials=2)
    assert Path(report["path"]).is_file()
    assert len(report["search"]["trials"]) == 2
    assert (report["within_max_drop"], cli.status(report)) == (False, 1)
    assert "was written all the same" in caplog.text


def test_without_labels_to_tell_by_nothing_is_proved(
    weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bare = write_demo(tmp_path / "bare", train=4, val=2, test=1, image_size=SIDE, seed=0)
    for label in (tmp_path / "bare").rglob("*.txt"):
        label.write_text("")
    report = run(weights, bare, tmp_path / "run")
    assert Path(report["path"]).is_file()
    assert (report["judged"], report["drop"], report["search"]) == (False, 0, None)
    assert (report["within_max_drop"], cli.status(report)) == (False, 1)
    assert "what it loses is not known: no validation image has labels" in caplog.text


@pytest.fixture(scope="module")
def named(detector: Detector, orchard: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights with the data set's classes, as a teacher must have them."""
    named = copy.deepcopy(detector)
    named.names = tuple(read_data(orchard).names)
    path = tmp_path_factory.mktemp("named") / "orchard.safetensors"
    save_weights(named, path)
    return path


@pytest.mark.parametrize("why", ["the search does not reach", "the validation split disagrees"])
def test_training_comes_where_max_drop_is_not_kept(
    named: Path, orchard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    reached = why != "the search does not reach"
    monkeypatch.setattr(verb, "search", _found_in_turn((reached, 0.2), (True, 0.1)))
    monkeypatch.setattr(verb, "_measure", _measured_in_turn(0.2 if reached else 0.01, 0.005))
    words = {"max_drop": 0.05, "fine_tune_epochs": 1}
    report = run(named, orchard, tmp_path / "run", **words)
    trained = Path(report["fine_tuned"])
    assert trained.parent.parent == tmp_path / "run"
    history = load_weights(trained).history
    assert history[-1].settings["quantization_aware"] is True
    written = open_runner(Path(report["path"]), device="cpu")
    assert written.facts.parent_sha256 == load_weights(trained).sha256  # type: ignore[attr-defined]
    assert report["sha256"] == sha256(Path(report["path"]))
    assert (report["drop"], report["within_max_drop"]) == (0.005, True)


def test_training_that_made_it_worse_is_not_taken(
    named: Path,
    orchard: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(verb, "search", _found_in_turn((True, 0.2), (True, 0.3)))
    monkeypatch.setattr(verb, "_measure", _measured_in_turn(0.1, 0.2))
    report = run(named, orchard, tmp_path / "worse", max_drop=0.05, fine_tune_epochs=1)
    assert (report["fine_tuned"], report["drop"]) == (None, 0.1)
    written = open_runner(Path(report["path"]), device="cpu")
    assert written.facts.parent_sha256 == load_weights(named).sha256  # type: ignore[attr-defined]
    assert "the fine-tune did not help" in caplog.text


def _found_in_turn(*outcomes: tuple[bool, float]) -> Any:
    """Return a search that ends so: whether it reached, and at which accuracy."""
    left = list(outcomes)

    def search(*_words: Any, **_more: Any) -> Found:
        reached, accuracy = left.pop(0)
        trial = Trial((), accuracy)
        return Found(trial, reached=reached, trials=(trial,))

    return search


def _measured_in_turn(*drops: float) -> Any:
    """Return what measures that so much is lost."""
    left = list(drops)

    def measure(_subject: Any, files: Mapping[str, Path]) -> list[Row]:
        drop = left.pop(0)
        accuracies = [0.5, *[0.5 - drop] * (len(files) - 1)]
        return [
            Row(name, 0.6, found, 1.0, 1.0) for name, found in zip(files, accuracies, strict=True)
        ]

    return measure


def attempt(
    drop: float, found: tuple[bool, float] | None = (True, 0.5), *, labels: int = 1
) -> verb.Attempt:
    """An attempt that lost so much on validation images, where these have labels."""
    subject = SimpleNamespace(validation=SimpleNamespace(boxes=[0] * labels))
    outcome = None if found is None else Found(Trial((), found[1]), found[0], ())
    rows = [Row("", 0, accuracy, 1, 1) for accuracy in (0.5, 0.5 - drop)]
    return verb.Attempt(subject, (), outcome, {}, Path(), rows)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "short"),
    [
        (attempt(0.04), False),
        (attempt(0.06), True),
        (attempt(0.06, labels=0), False),
        (attempt(0.0, (False, 0.5)), True),
        (attempt(0.0, (False, 0.5), labels=0), True),
        (attempt(0.04, None), False),
        (attempt(0.06, None), True),
        (attempt(0.06, None, labels=0), False),
    ],
)
def test_either_set_of_images_can_tell_that_too_much_is_lost(
    one: verb.Attempt, short: bool
) -> None:
    assert one.falls_short(0.05) is short


def test_the_better_attempt_is_the_one_that_holds_and_then_the_one_that_loses_less() -> None:
    better = [
        (attempt(0.04), attempt(0.05, (False, 0.9))),
        (attempt(0.05), attempt(0.04, (False, 0.9))),
        (attempt(0.1), attempt(0.2)),
        (attempt(0.1, None), attempt(0.2, None)),
        (attempt(0, (True, 0.3), labels=0), attempt(0, (False, 0.4), labels=0)),
    ]
    for one, other in better:
        assert one.is_better_than(other, 0.05)
        assert not other.is_better_than(one, 0.05)
    blind = attempt(0, None, labels=0)
    assert not blind.is_better_than(blind, 0.05)


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_the_graph_is_traced_once(
    weights: Path, orchard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """And its float file is what `export` would have written."""
    if name == "openvino":
        pytest.importorskip("openvino")
        pytest.importorskip("nncf")
    traced = []
    real = torch.onnx.export
    monkeypatch.setattr(torch.onnx, "export", lambda *a, **k: traced.append(1) or real(*a, **k))  # type: ignore[func-returns-value]
    words = {"weights": weights, "data": orchard, "image_size": SIDE}
    settings = parse(QuantizeConfig, words | {"format": name, "calibration_images": 2})
    subject = quantize_subject.prepare(settings, weights, tmp_path)
    assert len(traced) == 1
    exported = tmp_path / f"exported{subject.backend.suffix}"
    checkpoint = load_weights(weights)
    origin = Origin(checkpoint.sha256, checkpoint.licence)
    find_writer(name)[1](checkpoint.detector, exported, subject.form, origin)
    one, other = (subject.open(path) for path in (subject.float_file, exported))
    assert one.facts == other.facts  # type: ignore[attr-defined]
    image = torch.randint(0, 256, (1, 3, SIDE, SIDE), dtype=torch.uint8)
    assert torch.equal(one(image), other(image))


def test_no_training_where_it_is_not_needed(weights: Path, orchard: Path, tmp_path: Path) -> None:
    report = run(weights, orchard, tmp_path / "run", fine_tune_epochs=1)
    assert report["fine_tuned"] is None
    assert not (tmp_path / "run" / "fine-tune").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"floating": ("24",)}, r"--float: '24' names no layer"),
        ({"opset": 12}, r"--opset: expected greater than or equal to 13"),
    ],
)
def test_wrong_settings_are_refused(
    words: dict[str, Any], message: str, weights: Path, orchard: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(weights, orchard, tmp_path / "run", **words)
    assert not (tmp_path / "run" / "report.json").exists()


def test_a_missing_data_set_is_named(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.yaml"):
        run(weights, tmp_path / "nowhere.yaml", tmp_path / "run")
