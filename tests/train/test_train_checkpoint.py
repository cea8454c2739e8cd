"""state.pt: a stopped training goes on to the same bits, and a damaged one is refused."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from prunus.core.errors import TrainingError
from prunus.core.records import Batch
from prunus.model.detector import Detector
from prunus.train.checkpoint import read_state, restore_, save_state
from prunus.train.engine import Engine

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


def test_a_missing_damaged_or_newer_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing to resume"):
        read_state(tmp_path / "state.pt")
    torch.save({"format_version": 99}, tmp_path / "newer.pt")
    with pytest.raises(TrainingError, match="has format 99, this Prunus reads 1"):
        read_state(tmp_path / "newer.pt")
    whole = (tmp_path / "newer.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match="damaged"):
        read_state(tmp_path / "cut.pt")
    torch.save({"format_version": 1, "code": Path}, tmp_path / "code.pt")
    with pytest.raises(TrainingError, match="damaged"):
        read_state(tmp_path / "code.pt")
