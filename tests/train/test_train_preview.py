"""`--dry-run`, and what the settings make of the images."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from prunus.core.records import Batch
from prunus.data.index import ImageIndex, build_index
from prunus.data.spec import read_data
from prunus.model.detector import Detector
from prunus.pipeline.train import train
from prunus.train.config import TrainConfig
from prunus.train.engine import Engine
from prunus.train.freeze import fingerprint
from prunus.train.images import TrainingImages, as_one_class
from prunus.train.preview import preview
from prunus.train.run import _check_frozen

MakeSettings = Callable[..., TrainConfig]


@pytest.fixture
def index(data: Path) -> ImageIndex:
    return build_index(read_data(data), "train")


def test_a_dry_run_shows_all_and_writes_nothing(
    settings: MakeSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = sorted(tmp_path.rglob("*"))
    values = {"freeze": ["backbone"], "sparsity": "auto", "epochs": 6, "dry_run": True}
    with caplog.at_level(logging.INFO, logger="prunus"):
        report = train(settings(**values, project=tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()
    assert [path for path in sorted(tmp_path.rglob("*")) if "cache" not in str(path)] == [
        path for path in files if "cache" not in str(path)
    ]
    json.dumps(report)
    assert report["frozen"]["rows"] == list(range(10))  # type: ignore[index]
    schedule = report["schedule"]
    assert schedule["optimizer steps"] == 12  # type: ignore[index]
    assert schedule["of them warm-up"] == 4  # type: ignore[index]
    assert schedule["pull on each gamma"] >= 0.3  # type: ignore[index]
    step = report["step"]
    kept = [step[name]["kept_bytes"] for name in ("as asked", "nothing frozen")]  # type: ignore[index]
    assert 0 < kept[0] < kept[1] / 2
    for words in ("Frozen", "Schedule", "One step of 4 images at 64", "MB kept", "12 optimizer"):
        assert words in caplog.text


def test_without_frozen_rows_one_step_is_enough(settings: MakeSettings) -> None:
    report = preview(settings())
    assert list(report["step"]) == ["as asked"]
    assert report["frozen"] == {
        "rows": [], "rows_without_gradients": 0, "parameters": 0, "share": 0,
    }  # fmt: skip
    assert "sparsity strength" not in report["schedule"]


def test_one_class_for_all(index: ImageIndex) -> None:
    single = as_one_class(index)
    assert single.names == ("item",)
    assert set(single.boxes[:, 0].tolist()) == {0.0}
    np.testing.assert_array_equal(single.boxes[:, 1:], index.boxes[:, 1:])
    assert set(index.boxes[:, 0].tolist()) != {0.0}
    assert as_one_class(single).names == ("item",)


def test_a_training_on_one_class_with_a_frozen_backbone(
    settings: MakeSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = {"epochs": 1, "single_cls": True, "freeze": ["backbone"], "batch_size": -1}
    with caplog.at_level(logging.INFO, logger="prunus"):
        report = train(settings(**values, out=tmp_path / "run"))
    assert "frozen: 10 rows are the same to the last bit" in caplog.text
    measured = report["settings"]["batch_size"]  # type: ignore[index]
    assert 1 <= measured <= 16
    assert f"batch_size: {measured}\n" in (tmp_path / "run" / "config.yaml").read_text()
    assert [row["name"] for row in report["metrics"]["per_class"]] == ["item"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("values", "length"), [({}, 2), ({"rect": True}, 2), ({"repeat_factor": 0.9}, 3)]
)
def test_the_settings_choose_the_images(
    settings: MakeSettings, index: ImageIndex, values: dict[str, object], length: int
) -> None:
    images = TrainingImages(index, settings(**values), 64, 32)
    batches = list(images.epoch(0, 0))
    assert len(images) == len(batches) == length
    assert len(list(images.epoch(1, 1))) == length - 1


def test_mosaics_end_without_decoding_again(
    settings: MakeSettings, index: ImageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prunus.data import tiles

    reads: list[Path] = []
    original = tiles.load_image

    def counted(path: Path, *, coarse_to: int = 0) -> np.ndarray:
        reads.append(path)
        return original(path, coarse_to=coarse_to)

    monkeypatch.setattr(tiles, "load_image", counted)
    images = TrainingImages(index, settings(epochs=4, close_mosaic=0.5), 64, 32)
    for epoch in range(4):
        list(images.epoch(epoch, 0))
    assert len(reads) == len(index)


def test_frozen_rows_that_changed_are_a_bug_and_said_so(
    nano: Detector, make_engine: Callable[..., Engine]
) -> None:
    engine = make_engine(freeze=["3"])
    before = fingerprint(nano, engine.frozen)
    _check_frozen(engine, before)
    with torch.no_grad():
        nano.model[1].bn.running_var[3] += 1e-6  # type: ignore[union-attr, operator, index]
    with pytest.raises(RuntimeError, match="frozen rows have changed while training"):
        _check_frozen(engine, before)


def test_without_outlines_copy_paste_says_that_it_is_not_done(
    index: ImageIndex, settings: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="prunus"):
        TrainingImages(index, settings(copy_paste=0.5), 64, 32)
    assert "copy_paste: not done, it needs masks and the labels are boxes" in caplog.text


def test_each_batch_is_learnt_from_at_its_own_size(
    make_engine: Callable[..., Engine], make_batch: Callable[..., Batch]
) -> None:
    engine = make_engine(multi_scale=True, batches=4, nominal_batch=4, seed=1)
    assert engine.scales is not None
    sizes = []
    engine.detector.register_forward_pre_hook(
        lambda _, given: sizes.append(tuple(given[0].shape[-2:]))
    )
    engine.run_epoch([make_batch(4, seed) for seed in range(4)], lambda: False)
    wanted = [engine.scales.size(0, batch) for batch in range(4)]
    assert sizes == [(size, size) for size in wanted]
    assert len(set(wanted)) > 1
