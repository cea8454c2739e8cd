"""`--batch -1`: the line by hand, what is measured, and 16 when it cannot be."""

import logging
from types import SimpleNamespace

import pytest
import torch

from prunus.core.errors import TrainingError
from prunus.model.detector import Detector
from prunus.train import batch_size, measure
from prunus.train.batch_size import FALLBACK, Tried, fitting_batch, largest, with_fitting_batch
from prunus.train.config import TrainConfig
from prunus.train.measure import StepCost, dense_batch, measured_step

CONFIG = TrainConfig(device="cpu", precision="fp32", batch_size=-1)


def tried(*pairs: tuple[int, float], fits: bool = True) -> list[Tried]:
    return [Tried(images, StepCost(1.0, 0, int(peak), fits)) for images, peak in pairs]


def test_the_largest_batch_on_a_line_by_hand() -> None:
    line = tried((1, 110), (2, 120), (4, 140))
    assert largest(line, 1000) == 90
    assert largest(line, 1009) == 90
    assert largest(line, 50) == 1
    assert largest(line[:1], 1000) is None
    assert largest(tried((1, 100), (2, 100)), 1000) is None
    assert largest([*line, *tried((8, 0), fits=False)], 1000) == 4


@pytest.mark.parametrize(
    ("images", "nominal", "expected"), [(1000, 64, 64), (1000, 200, 90), (12, 64, 12)]
)
def test_the_batch_is_no_larger_than_helps(
    nano: Detector,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    images: int,
    nominal: int,
    expected: int,
) -> None:
    def cost(_detector: object, _settings: object, _size: int, count: int) -> StepCost:
        return StepCost(0.5, 0, 100 + 10 * count, fits=True)

    monkeypatch.setattr(batch_size, "measured_step", cost)
    monkeypatch.setattr(batch_size, "_room", lambda _: 1000.0)
    settings = CONFIG.model_copy(update={"nominal_batch": nominal})
    with caplog.at_level(logging.INFO, logger="prunus"):
        assert with_fitting_batch(settings, nano, 64, images).batch_size == expected
    assert "images/s" in caplog.text
    assert f"batch size: {expected}" in caplog.text
    fixed = CONFIG.model_copy(update={"batch_size": 3})
    assert with_fitting_batch(fixed, nano, 64, images) is fixed


@pytest.mark.parametrize("what", ["room", "step", "line"])
def test_what_cannot_be_measured_is_16_and_said(
    nano: Detector,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    what: str,
) -> None:
    def cost(*_: object) -> StepCost:
        if what == "step":
            raise TrainingError("memory: too small for a single image")
        return StepCost(0.5, 0, 100, fits=True)

    monkeypatch.setattr(batch_size, "measured_step", cost)
    monkeypatch.setattr(batch_size, "_room", lambda _: 0.0 if what == "room" else 1e9)
    reasons = {"room": "how much memory is free", "step": "too small", "line": "does not grow"}
    with caplog.at_level(logging.INFO, logger="prunus"):
        assert fitting_batch(nano, CONFIG, 64, 1000) == FALLBACK
    assert "batch size: 16, since it could not be measured" in caplog.text
    assert reasons[what] in caplog.text


def test_a_real_step_is_measured_and_leaves_the_detector_alone(nano: Detector) -> None:
    before = {name: tensor.clone() for name, tensor in nano.state_dict().items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    small, large = (measured_step(nano, CONFIG, 64, images) for images in (1, 4))
    assert torch.get_rng_state().equal(state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in nano.state_dict().items())
    assert small.fits
    assert small.seconds > 0
    assert large.kept_bytes == pytest.approx(4 * small.kept_bytes, rel=0.1)


def test_freezing_keeps_less(nano: Detector) -> None:
    kept = [
        measured_step(nano, CONFIG.model_copy(update={"freeze": freeze}), 64, 2).kept_bytes
        for freeze in ((), ("10",), ("24",))
    ]
    assert kept[0] > 2 * kept[1] > 4 * kept[2] > 0


def test_weights_do_not_count_as_kept(nano: Detector) -> None:
    tensor = torch.zeros(1000)
    kept = measure.Kept({measure.id_of(tensor)})
    other = torch.zeros(10, 10)
    assert kept(tensor[:3]) is not None
    kept(other)
    kept(other[2:])
    assert list(kept.bytes_by_storage.values()) == [400]
    assert nano is not None


def test_dense_labels_lie_within_their_images() -> None:
    batch = dense_batch(3, 64, 2)
    assert batch.targets.shape == (60, 6)
    corners = torch.cat(
        (
            batch.targets[:, 2:4] - batch.targets[:, 4:] / 2,
            batch.targets[:, 2:4] + batch.targets[:, 4:] / 2,
        )
    )
    assert ((corners >= 0) & (corners <= 1)).all()
    assert set(batch.targets[:, 1].tolist()) == {0.0, 1.0}
    assert torch.equal(batch.images, dense_batch(3, 64, 2).images)


def test_a_machine_that_tells_nothing_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "available_bytes", lambda: None)
    assert batch_size._room(torch.device("cpu")) == 0
    monkeypatch.setattr(batch_size, "available_bytes", lambda: 1000)
    monkeypatch.setattr(batch_size, "resident_bytes", lambda: 500)
    assert batch_size._room(torch.device("cpu")) == 1300
    free = SimpleNamespace(mem_get_info=lambda _: (1000, 0), memory_reserved=lambda _: 50)
    monkeypatch.setattr(batch_size.torch, "cuda", free)
    assert batch_size._room(torch.device("cuda")) == 840
