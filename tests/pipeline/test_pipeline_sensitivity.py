"""`prunus sensitivity` on files: what it writes, how it goes on after a stop, what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from prunus.cli.main import main
from prunus.model.channels.trace import trace
from prunus.pipeline import sensitivity as verb
from prunus.pipeline.sensitivity_subject import Subject
from prunus.prune.sensitivity.config import SensitivityConfig
from prunus.prune.sensitivity.record import RECORD, read_record, read_sensitivity
from prunus.weights.files import load_weights

pytestmark = pytest.mark.integration
QUICK = ("--quick", "--img", "64", "--calibration", "4", "--ratios", "0.25", "75")


def run(*words: object, code: int = 0) -> None:
    assert main(["sensitivity", *map(str, words), "--quiet"]) == code


@pytest.fixture(scope="module")
def measured(weights: Path, orchard: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sensitivity") / "run"
    run("--weights", weights, "--data", orchard, *QUICK, "--out", folder)
    return folder


def test_every_group_and_ratio_is_measured_shown_and_reported(
    measured: Path, weights: Path
) -> None:
    report: dict[str, Any] = json.loads((measured / "report.json").read_text())
    detector = load_weights(weights).detector
    groups = {
        group.name: len(group) for group in trace(detector, torch.zeros(1, 3, 64, 64)).free_groups
    }
    assert {group["group"]: group["channels"] for group in report["groups"]} == groups
    assert report["points"] == 2 * len(groups)
    assert (report["score"], report["dense"]) == ("likeness", 1.0)
    assert set(read_sensitivity(measured / RECORD)) == set(groups)
    safe = [group["safe"] for group in report["groups"]]
    assert safe == sorted(safe)
    assert (measured / "sensitivity.png").stat().st_size > 10_000
    text = (measured / "log.txt").read_text()
    assert "model.23.cv3.conv" in text
    assert "steepest fall" in text


def test_a_stopped_run_goes_on_where_it_was_and_ends_as_if_never_stopped(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    whole = (measured / RECORD).read_text()
    for name in ("config.yaml", RECORD):
        (tmp_path / name).write_text((measured / name).read_text())
    cut = tmp_path / RECORD
    cut.write_text(whole[: len(whole) - 300])
    kept = cut.read_text().count("\n") - 1
    written = verb.records.append

    def stops(path: Path, point: object) -> None:
        if len(read_record(path).points) == kept + 1:
            raise KeyboardInterrupt
        written(path, point)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(verb.records, "append", stops)
        run("--resume", tmp_path, code=130)
    total = whole.count("\n") - 1
    error = capsys.readouterr().err
    assert f"stopped. {kept + 1} of {total} points are kept. Go on with: prunus sensi" in error
    assert not (tmp_path / "report.json").exists()
    run("--resume", tmp_path, "--max-drop", 0.5)
    assert cut.read_text() == whole
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["settings"]["max_drop"] == 0.5
    before = json.loads((measured / "report.json").read_text())
    assert {g["group"]: g["drops"] for g in report["groups"]} == {
        g["group"]: g["drops"] for g in before["groups"]
    }


def test_a_file_of_other_settings_is_refused_and_left_alone(
    measured: Path, weights: Path, orchard: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in measured.iterdir()}
    run("--resume", measured, "--img", 96, code=2)
    assert "was measured with image_size 64, not 96" in capsys.readouterr().err
    words = ("--weights", weights, "--data", orchard, *QUICK, "--out", measured)
    run(*words, "--exist-ok", "--criterion", "l1", code=2)
    (line,) = capsys.readouterr().err.splitlines()
    assert "was measured with criterion l2, not l1" in line
    run(*words, code=2)
    assert "is not empty" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in measured.iterdir()} == before


def test_other_weights_are_refused(
    measured: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = weights.with_name("best.safetensors")
    if other.read_bytes() == weights.read_bytes():
        pytest.skip("the best epoch was the last")
    run("--resume", measured, "--weights", other, code=2)
    assert "holds points of other weights" in capsys.readouterr().err


def test_a_folder_of_no_such_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--resume", tmp_path, code=2)
    assert "nothing to resume. Give the folder of a `prunus sensitivity` run" in (
        capsys.readouterr().err
    )


def test_an_unknown_criterion_is_refused_before_anything_is_judged(
    weights: Path, orchard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--weights", weights, "--data", orchard, *QUICK, "--out", tmp_path)
    run(*words, "--criterion", "l22", code=2)
    assert "--criterion: no criterion 'l22'. Did you mean 'l2'?" in capsys.readouterr().err


def test_accuracy_is_judged_on_some_validation_images(weights: Path, orchard: Path) -> None:
    settings = SensitivityConfig(weights=weights, data=orchard, image_size=64, images=3)
    subject = Subject(settings, orchard, load_weights(weights).detector)
    assert subject.score == "map50_95"
    assert 0 <= subject.judge(subject.network) <= 1
