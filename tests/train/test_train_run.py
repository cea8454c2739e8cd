"""Whole trainings on eight generated pictures: what is written, resumed and stopped."""

import csv
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from prunus.core.errors import TrainingError
from prunus.model.detector import Detector
from prunus.train import session, start
from prunus.train.checkpoint import BEST, LAST, STATE
from prunus.train.config import TrainConfig
from prunus.train.interrupt import Interrupt
from prunus.train.logs import COLUMNS, RESULTS
from prunus.train.run import fitting_size
from prunus.weights.files import load_weights
from prunus.weights.native import save_weights

pytestmark = pytest.mark.integration
MakeSettings = Callable[..., TrainConfig]


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / RESULTS).open(newline="") as file:
        return list(csv.DictReader(file))


def test_writes_weights_state_and_results(
    settings: MakeSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    with caplog.at_level(logging.INFO, logger="prunus"):
        result = start.run(settings(sparsity="auto", close_mosaic=1), folder)
    assert {BEST, LAST, STATE, RESULTS} <= {path.name for path in folder.iterdir()}
    assert any("tfevents" in path.name for path in folder.iterdir())
    rows = rows_of(folder)
    assert tuple(rows[0]) == COLUMNS
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert all(cell for row in rows for cell in row.values())
    assert len(result.epochs) == 2
    assert result.metrics["map50"] == pytest.approx(
        float(rows[result.best_epoch]["metrics/mAP_0.5"])
    )
    saved = load_weights(result.last)
    assert saved.detector.names == ("red", "green", "blue")
    assert [step.verb for step in saved.history] == ["train"]
    lines = [record.message for record in caplog.records]
    assert sum(line.startswith("epoch ") and "mAP50-95" in line for line in lines) == 2
    assert sum(line.startswith("gammas: ") for line in lines) == 2
    assert any("no mosaics from here on" in line for line in lines)
    assert any("pull spent 0.30 of 0.30" in line for line in lines)  # the least that works


@pytest.mark.parametrize(
    "stop_at", [3, 4]
)  # asked within an epoch and at its end: so in, and after, the second
def test_an_interrupted_and_resumed_training_ends_in_the_same_bits(
    settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    through, stopped = tmp_path / "through", tmp_path / "stopped"
    start.run(settings(epochs=3), through)

    asked = iter(range(1, 100))
    with monkeypatch.context() as patch:
        patch.setattr(Interrupt, "requested", lambda _: next(asked) >= stop_at)
        with pytest.raises(KeyboardInterrupt):
            start.run(settings(epochs=3), stopped)
    assert 0 < len(rows_of(stopped)) < 3
    result = start.resume(stopped)
    assert len(result.epochs) == 3
    for name in (LAST, BEST):
        one, other = (
            load_weights(folder / name).detector.state_dict() for folder in (through, stopped)
        )
        assert all(torch.equal(tensor, other[key]) for key, tensor in one.items())
    one, other = (torch.load(f / STATE, weights_only=True) for f in (through, stopped))
    for key, tensor in one["detector"].items():
        assert torch.equal(tensor, other["detector"][key]), key
    assert (through / RESULTS).read_text() == (stopped / RESULTS).read_text()
    assert [step.verb for step in load_weights(stopped / LAST).history] == ["train"]
    with pytest.raises(TrainingError, match="has finished its 3 epochs"):
        start.resume(stopped)


def test_a_narrower_detector_trains_and_keeps_its_shape(
    nano: Detector, settings: MakeSettings, tmp_path: Path
) -> None:
    bottleneck = nano.model[2].m[0]  # type: ignore[union-attr, index]
    inner = bottleneck.cv1
    inner.conv.weight = nn.Parameter(inner.conv.weight.detach()[:8].clone())
    inner.conv.out_channels = inner.bn.num_features = 8
    for name in ("weight", "bias"):
        setattr(inner.bn, name, nn.Parameter(getattr(inner.bn, name).detach()[:8].clone()))
    for name in ("running_mean", "running_var"):
        setattr(inner.bn, name, getattr(inner.bn, name)[:8].clone())
    bottleneck.cv2.conv.weight = nn.Parameter(bottleneck.cv2.conv.weight.detach()[:, :8].clone())
    bottleneck.cv2.conv.in_channels = 8
    save_weights(nano, tmp_path / "narrow.safetensors")
    shapes = {name: tensor.shape for name, tensor in nano.state_dict().items()}

    result = start.run(
        settings(cfg="", weights=tmp_path / "narrow.safetensors", epochs=1), tmp_path / "run"
    )

    trained = load_weights(result.last).detector.state_dict()
    assert {name: tensor.shape for name, tensor in trained.items()} == shapes
    name = "model.2.m.0.cv1.conv.weight"
    assert not torch.equal(trained[name], nano.state_dict()[name])


def test_a_plateau_ends_the_training(
    settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = session.validate
    found = []

    def same_every_time(*args: object, **kwargs: object) -> object:
        if not found:
            found.append(real(*args, **kwargs))  # type: ignore[arg-type]
        return found[0]

    monkeypatch.setattr(session, "validate", same_every_time)
    result = start.run(settings(epochs=9, patience=2), tmp_path / "run")
    assert len(result.epochs) == 3
    assert result.best_epoch == 0


def test_validates_every_second_epoch_and_the_last(settings: MakeSettings, tmp_path: Path) -> None:
    start.run(settings(epochs=3, val_every=2), tmp_path / "run")
    judged = [bool(row["metrics/mAP_0.5"]) for row in rows_of(tmp_path / "run")]
    assert judged == [False, True, True]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cfg": ""}, "give either --weights FILE to start from, or --cfg"),
        ({"data": None}, "--data: is needed"),
        (
            {"teacher_features": 0.5},
            r"--teacher-features 0\.5: does nothing without a teacher\. Ad",
        ),
        ({"sparsity": 1e-9}, "sparsity: strength 1e-09 can move a gamma by only"),
        ({"freeze": ["99"]}, "freeze: there is no row 98"),
    ],
)
def test_what_cannot_work_is_said_at_once(
    settings: MakeSettings, tmp_path: Path, values: dict[str, object], words: str
) -> None:
    with pytest.raises(TrainingError, match=words):
        start.run(settings(**values), tmp_path / "run")


def test_an_image_size_is_rounded_up_to_the_stride() -> None:
    assert [fitting_size(size, 32) for size in (32, 64, 65, 320, 321)] == [
        64,
        64,
        96,
        320,
        352,
    ]
