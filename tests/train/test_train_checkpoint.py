"""state.pt: a stopped training goes on to the same bits, and a damaged one is refused."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from prunus.core.errors import TrainingError
from prunus.core.records import Batch
from prunus.model.detector import Detector
from prunus.train.checkpoint import (
    FORMAT_VERSION,
    PREVIOUS,
    STATE,
    detector_of,
    newest_state,
    read_state,
    restore_,
    save_state,
    state_bytes,
)
from prunus.train.engine import Engine
from prunus.train.position import NotFiniteError
from prunus.train.sealed import write_sealed

BATCHES = 3
MakeBatch = Callable[..., Batch]
MakeEngine = Callable[..., Engine]


def run_to_the_end(engine: Engine, make_batch: MakeBatch, until: int = 4) -> None:
    position = engine.position
    while position.epoch < until:
        first = position.batch
        seeds = range(position.epoch * BATCHES + first, (position.epoch + 1) * BATCHES)
        assert engine.run_epoch([make_batch(4, seed) for seed in seeds], lambda: False)
        position.begin_next_epoch()


def assert_same_bits(engine: Engine, other: Engine) -> None:
    for mine, theirs in (
        (engine.detector.state_dict(), other.detector.state_dict()),
        (engine.average.detector.state_dict(), other.average.detector.state_dict()),
    ):
        for name, tensor in mine.items():
            assert torch.equal(tensor, theirs[name]), name
    assert engine.average.updates == other.average.updates


@pytest.mark.parametrize(
    "settings", [{}, {"optimizer": "adamw", "sparsity": "auto", "freeze": ["3"]}]
)
def test_four_epochs_equal_two_stop_two(
    nano: Detector,
    make_engine: MakeEngine,
    make_batch: MakeBatch,
    tmp_path: Path,
    settings: dict[str, object],
) -> None:
    start, settings = deepcopy(nano), {"nominal_batch": 8, **settings}
    through = make_engine(nano, batches=BATCHES, **settings)
    run_to_the_end(through, make_batch)

    first = make_engine(deepcopy(start), batches=BATCHES, **settings)
    run_to_the_end(first, make_batch, until=2)
    save_state(tmp_path / "state.pt", first, {"rows": []}, {"epochs": 4})
    second = make_engine(deepcopy(start), batches=BATCHES, **settings)
    state = read_state(tmp_path / "state.pt")
    restore_(second, state)
    assert second.position.epoch == 2
    assert state["settings"] == {"epochs": 4}
    run_to_the_end(second, make_batch)
    assert_same_bits(through, second)
    if second.shrinker is not None and through.shrinker is not None:
        assert second.shrinker.spent == through.shrinker.spent > 0


def test_a_stop_within_an_epoch_goes_on_at_the_next_batch(
    nano: Detector, make_engine: MakeEngine, make_batch: MakeBatch, tmp_path: Path
) -> None:
    start = deepcopy(nano)
    through = make_engine(nano, batches=BATCHES, nominal_batch=4)
    run_to_the_end(through, make_batch, until=2)

    first = make_engine(deepcopy(start), batches=BATCHES, nominal_batch=4)
    run_to_the_end(first, make_batch, until=1)
    seeds = range(BATCHES, 2 * BATCHES)
    assert not first.run_epoch([make_batch(4, seed) for seed in seeds], lambda: True)
    assert first.position.batch == 1
    save_state(tmp_path / "state.pt", first, {}, {})
    second = make_engine(deepcopy(start), batches=BATCHES, nominal_batch=4)
    restore_(second, read_state(tmp_path / "state.pt"))
    run_to_the_end(second, make_batch, until=2)
    assert_same_bits(through, second)


def small_state(number: int) -> dict[str, object]:
    texts = dict.fromkeys(("architecture", "progress", "settings", "origin"), "{}")
    return {"format_version": FORMAT_VERSION, "number": number, "w": torch.ones(40), **texts}


def write_two(folder: Path) -> None:
    for number in (1, 2):
        write_sealed(folder / STATE, small_state(number), folder / PREVIOUS)


def test_a_missing_damaged_or_newer_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / STATE
    with pytest.raises(TrainingError, match="nothing to resume"):
        read_state(path)
    write_sealed(path, {"format_version": 99}, tmp_path / PREVIOUS)
    with pytest.raises(TrainingError, match="has format 99, this Prunus reads 2"):
        read_state(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match=r"no SHA-256 at its end\. It is damaged"):
        read_state(path)
    write_sealed(path, {"format_version": 2, "code": Path}, tmp_path / PREVIOUS)
    with pytest.raises(TrainingError, match="something else than plain tensors"):
        read_state(path)


def test_the_last_and_the_previous_state_are_kept(tmp_path: Path) -> None:
    write_two(tmp_path)
    assert read_state(tmp_path / STATE)["number"] == 2
    assert read_state(tmp_path / PREVIOUS)["number"] == 1
    state, problem = newest_state(tmp_path)
    assert (state["number"], problem) == (2, "")
    (tmp_path / STATE).unlink()
    state, problem = newest_state(tmp_path)
    assert state["number"] == 1
    assert "no such file" in problem
    (tmp_path / PREVIOUS).write_bytes(b"")
    with pytest.raises(TrainingError, match=r"state\.pt: no such file.*previous\.pt: cut off"):
        newest_state(tmp_path)


def test_a_damaged_state_never_takes_the_place_of_a_whole_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_two(tmp_path)
    (tmp_path / STATE).write_bytes(b"rot" * 1000)
    write_sealed(tmp_path / STATE, small_state(3), tmp_path / PREVIOUS)
    assert read_state(tmp_path / STATE)["number"] == 3
    assert read_state(tmp_path / PREVIOUS)["number"] == 1
    assert "it is replaced, and state.previous.pt stays" in caplog.text


def test_a_thousand_places_of_damage_are_all_noticed(tmp_path: Path) -> None:
    """A flipped bit, a cut, a block of zeros, or surplus bytes, anywhere."""
    write_two(tmp_path)
    path = tmp_path / STATE
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for number in range(1000):
        at, spoilt = int(generator.integers(len(whole))), bytearray(whole)
        if number % 4 == 0:
            del spoilt[at:]
        elif number % 4 == 1:
            spoilt[at] ^= 1 << int(generator.integers(8))
        elif number % 4 == 2:
            spoilt[at : at + 16] = bytes(byte ^ 0xFF for byte in spoilt[at : at + 16])
        else:
            spoilt[at:at] = b"x"
        path.write_bytes(spoilt)
        state, problem = newest_state(tmp_path)
        assert state["number"] == 1, at
        assert problem.startswith(f"{path}: ")
        assert problem.endswith("going on from state.previous.pt")
    path.write_bytes(whole)
    assert newest_state(tmp_path)[0]["number"] == 2


@pytest.mark.parametrize("part", ["weights", "average", "optimizer"])
def test_what_is_not_finite_is_never_saved(
    make_engine: MakeEngine, make_batch: MakeBatch, tmp_path: Path, part: str
) -> None:
    engine = make_engine(batches=1, nominal_batch=4)
    engine.run_epoch([make_batch(4, 0)], lambda: False)
    save_state(tmp_path / STATE, engine, {}, {})
    before = (tmp_path / STATE).read_bytes()
    spoilt: torch.Tensor = {
        "weights": list(engine.detector.parameters())[-1].data,
        "average": list(engine.average.detector.parameters())[-1].data,
        "optimizer": list(engine.optimizer.state.values())[-1]["momentum_buffer"],
    }[part]
    spoilt.view(-1)[3] = float("inf")
    with pytest.raises(NotFiniteError, match=f"on saving: .* of the {part} is not finite"):
        save_state(tmp_path / STATE, engine, {}, {})
    assert (tmp_path / STATE).read_bytes() == before
    assert not (tmp_path / PREVIOUS).exists()


def test_the_detector_of_a_state_needs_no_other_file(
    nano: Detector, make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = make_engine(nano)
    save_state(tmp_path / STATE, engine, {}, {})
    detector = detector_of(read_state(tmp_path / STATE), "here")
    assert detector.names == nano.names
    assert detector.spec == nano.spec
    for name, tensor in nano.state_dict().items():
        assert torch.equal(tensor, detector.state_dict()[name])


def test_the_size_of_a_state_is_known_beforehand(
    make_engine: MakeEngine, make_batch: MakeBatch, tmp_path: Path
) -> None:
    for optimizer in ("sgd", "adam"):
        engine = make_engine(batches=1, nominal_batch=4, optimizer=optimizer)
        expected = state_bytes(engine)
        engine.run_epoch([make_batch(4, 0)], lambda: False)
        save_state(tmp_path / STATE, engine, {}, {})
        assert (tmp_path / STATE).stat().st_size == pytest.approx(expected, rel=0.05)
