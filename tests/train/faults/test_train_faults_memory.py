"""Memory that is too small for a batch: computed in pieces, the effective batch kept (R12).

The faults are raised where a GPU raises them: in the middle of a forward or backward pass, or of an
optimizer step.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from prunus.core.distributed import Processes
from prunus.core.errors import TrainingError
from prunus.core.records import Batch
from prunus.model.detector import Detector
from prunus.train import room, start
from prunus.train.checkpoint import LAST, STATE, read_state, restore_, save_state
from prunus.train.config import TrainConfig
from prunus.train.engine import Engine
from prunus.train.memory import is_out_of_memory, pieces_of, split
from prunus.train.validate import LossRunner
from prunus.weights.files import load_weights

MakeBatch = Callable[..., Batch]
MakeEngine = Callable[..., Engine]
MakeSettings = Callable[..., TrainConfig]


def limit_memory(detector: nn.Module, images: int, at: int = 9) -> list[int]:
    """Let a row fail for more images at a time; return the sizes that came through."""
    sizes: list[int] = []

    def check(_: nn.Module, __: Any, output: Tensor) -> None:
        if len(output) > images:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        sizes.append(len(output))

    detector.model[at].register_forward_hook(check)  # type: ignore[index, union-attr]
    return sizes


def test_a_batch_is_split_without_loss(make_batch: MakeBatch) -> None:
    batch = make_batch(5, 0)
    for pieces in (1, 2, 3, 5, 8):
        parts = list(split(batch, pieces))
        assert len(parts) == min(pieces, 5)
        assert torch.cat([part.images for part in parts]).equal(batch.images)
        assert tuple(f for part in parts for f in part.frames) == batch.frames
        start = 0
        rows = []
        for part in parts:
            shifted = part.targets.clone()
            shifted[:, 0] += start
            rows.append(shifted)
            start += len(part.frames)
        assert torch.cat(rows).equal(batch.targets)


def test_gradients_in_pieces_are_those_of_the_pieces(
    nano: Detector, make_engine: MakeEngine, make_batch: MakeBatch
) -> None:
    """Batch norm held still: a batch of four in two pieces adds up two batches of two."""
    engine = make_engine(batches=1, freeze=["0-23"])
    batch = make_batch(4, 1)
    engine.detector.eval()
    engine.position.pieces = 2
    engine._learn(batch)
    whole = [p.grad.clone() for p in nano.parameters() if p.grad is not None]
    assert whole
    engine.optimizer.zero_grad()
    engine.position.pieces = 1
    for piece in split(batch, 2):
        engine._learn(piece)
    for one, other in zip(
        whole, (p.grad for p in nano.parameters() if p.grad is not None), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("when", ["the first batch", "a dense batch later"])
def test_the_run_goes_on_in_pieces_with_the_same_steps(
    nano: Detector,
    make_engine: MakeEngine,
    make_batch: MakeBatch,
    caplog: pytest.LogCaptureFixture,
    when: str,
) -> None:
    plain = make_engine(deepcopy(nano), batches=4, nominal_batch=8)
    engine = make_engine(nano, batches=4, nominal_batch=8)
    batches = [make_batch(4, seed) for seed in range(4)]
    if when == "the first batch":
        sizes = limit_memory(nano, 2)
    else:
        sizes, calls = [], iter(range(100))

        def check(_: nn.Module, __: Any, output: Tensor) -> None:
            if next(calls) == 3:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            sizes.append(len(output))

        nano.model[24].m[0].register_forward_hook(check)  # type: ignore[index, union-attr]
    with caplog.at_level(logging.WARNING, logger="prunus"):
        assert engine.run_epoch(batches, lambda: False)
        plain.run_epoch(batches, lambda: False)
    assert engine.position.pieces == 2
    assert (
        "memory is short: from here on 2 images at a time, which is what batch norm" in caplog.text
    )
    assert caplog.text.count("memory is short") == 1
    assert engine.average.updates == plain.average.updates
    assert engine.position.counted == plain.position.counted == 4
    for one, other in zip(engine.position.mean_losses(), plain.position.mean_losses(), strict=True):
        assert one == pytest.approx(other, rel=0.15)
    rates = [[group["lr"] for group in e.optimizer.param_groups] for e in (engine, plain)]
    assert rates[0] == rates[1]


def test_a_failed_batch_leaves_no_part_of_its_gradients(
    nano: Detector, make_engine: MakeEngine, make_batch: MakeBatch
) -> None:
    """The second piece of the second batch fails in its backward pass; the window is begun anew."""
    batches = [make_batch(4, seed) for seed in range(2)]
    engine, clean = (
        make_engine(detector, batches=2, nominal_batch=8, freeze=["0-23"])
        for detector in (nano, deepcopy(nano))
    )
    clean.position.pieces, engine.position.pieces = 4, 2
    calls = iter(range(100))

    def fail(gradient: Tensor) -> Tensor:
        if next(calls) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return gradient

    def hook(_: nn.Module, __: Any, output: Tensor) -> None:
        output.register_hook(fail)

    nano.model[24].m[1].register_forward_hook(hook)  # type: ignore[index, union-attr]
    for each in (engine, clean):
        each.detector.eval()
        for batch in batches:
            each._learn(batch)
    assert engine.position.pieces == 4
    for one, other in zip(nano.parameters(), clean.detector.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or torch.equal(one.grad, other.grad)
    assert engine.position.losses == clean.position.losses


def test_not_even_one_image_fits(
    nano: Detector, make_engine: MakeEngine, make_batch: MakeBatch
) -> None:
    engine = make_engine(batches=1)
    limit_memory(nano, 0)
    with pytest.raises(TrainingError, match=r"batch 1: memory is short for a single image of 64 p"):
        engine.run_epoch([make_batch(4, 0)], lambda: False)


def test_another_error_is_not_taken_for_it(
    nano: Detector, make_engine: MakeEngine, make_batch: MakeBatch
) -> None:
    engine = make_engine(batches=1)

    def fail(*_: object) -> None:
        raise RuntimeError("shapes do not fit")

    nano.model[3].register_forward_hook(fail)  # type: ignore[index, union-attr]
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        engine.run_epoch([make_batch(4, 0)], lambda: False)
    assert engine.position.pieces == 1


def test_the_allocator_s_own_message_is_known() -> None:
    with pytest.raises(RuntimeError, match="allocate") as caught:
        torch.empty(1 << 60)
    assert is_out_of_memory(caught.value)


def test_a_resumed_run_keeps_the_pieces(
    nano: Detector, make_engine: MakeEngine, tmp_path: Any
) -> None:
    engine = make_engine(deepcopy(nano), batches=1)
    engine.position.pieces = 4
    save_state(tmp_path / "state.pt", engine, {}, {})
    other = make_engine(nano, batches=1)
    restore_(other, read_state(tmp_path / "state.pt"))
    assert other.position.pieces == 4


def test_validation_goes_on_in_pieces_with_the_same_candidates(
    nano: Detector, make_engine: MakeEngine, make_batch: MakeBatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine, batches = make_engine(), [make_batch(5, 0), make_batch(4, 1)]
    nano.eval()
    whole = LossRunner(nano, engine.loss, engine.device, "fp32")
    short = LossRunner(nano, engine.loss, engine.device, "fp32")
    sizes = limit_memory(short._detector, 2)
    for runner in (whole, short):
        runner.candidates = [runner(b.images) for b in runner.watch(batches)]  # type: ignore[attr-defined]
    for one, other in zip(whole.candidates, short.candidates, strict=True):  # type: ignore[attr-defined]
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert max(sizes) == 2
    assert "validation: memory is short: from here on 4 pieces a batch" in caplog.text
    for one, other in zip(whole.losses(), short.losses(), strict=True):
        assert one == pytest.approx(other, rel=0.2)


@pytest.mark.parametrize(
    ("images", "count", "wanted"), [(8, 2, 2), (3, 2, 2), (5, 3, 4), (1, 2, 2)]
)
def test_pieces_of_all_processes_are_the_batch(
    make_batch: MakeBatch, images: int, count: int, wanted: int
) -> None:
    """Each has the same number of them, so that all take part in the same sums."""
    whole = make_batch(images, 0)
    everyone = [Processes(rank, count) for rank in range(count)]
    shares = []
    for processes in everyone:
        numbers = list(processes.share(range(images)))
        frames = tuple(whole.frames[number] for number in numbers)
        shares.append(Batch(whole.images[numbers], torch.zeros(0, 6), frames, whole=images))
    rows = [
        list(pieces_of(share, wanted, processes))
        for share, processes in zip(shares, everyone, strict=True)
    ]
    assert {len(row) for row in rows} == {min(wanted, -(-images // count))}
    found = [frame for row in rows for piece in row if piece.counts for frame in piece.batch.frames]
    if images >= count:
        assert sorted(frame.path for frame in found) == [frame.path for frame in whole.frames]
    for together in zip(*rows, strict=True):
        assert len({piece.images for piece in together}) == 1
        counted = sum(len(piece.batch.frames) for piece in together if piece.counts)
        assert together[0].images == (counted if images >= count else images)
    assert sum(piece.images for piece in rows[0]) == images


def test_a_failed_pass_leaves_no_trace_in_statistics(
    nano: Detector, make_engine: MakeEngine, make_batch: MakeBatch
) -> None:
    engine, clean = (make_engine(d, batches=1) for d in (nano, deepcopy(nano)))
    clean.position.pieces = 2
    limit_memory(nano, 2)
    for each in (engine, clean):
        assert each.run_epoch([make_batch(4, 0)], lambda: False)
    for one, other in zip(nano.buffers(), clean.detector.buffers(), strict=True):
        assert torch.equal(one, other)


@contextmanager
def short_at(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, call: int
) -> Iterator[list[int]]:
    """Let the n-th call of a function, from 0, find the memory too small; yield a list of all."""
    real, calls = getattr(owner, name), list[int]()

    def fail(*given: Any, **named: Any) -> Any:
        calls.append(len(calls))
        if calls[-1] == call:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return real(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        yield calls
        assert len(calls) > call, "the fault was never met"


def assert_same(one: Engine, other: Engine) -> None:
    """Weights, statistics, averages, moments, sums: all to the last bit."""
    averages = one.average.detector, other.average.detector
    for both in ((one.detector, other.detector), averages):
        pairs = zip(*(detector.state_dict().values() for detector in both), strict=True)
        assert all(torch.equal(mine, its) for mine, its in pairs)
    moments = [engine.optimizer.state_dict()["state"] for engine in (one, other)]
    assert moments[0].keys() == moments[1].keys() != set()
    for number, state in moments[0].items():
        assert all(torch.equal(value, moments[1][number][name]) for name, value in state.items())
    assert one.average.updates == other.average.updates
    assert one.position == other.position


STEPS = {
    "no room beforehand": (room, "make_room", 1),
    "while clipping": (torch.nn.utils, "clip_grad_norm_", 1),
    "at the very first": (torch.optim.SGD, "step", 0),
    "before it writes": (torch.optim.SGD, "step", 1),
}


@pytest.mark.parametrize("place", STEPS)
@pytest.mark.parametrize("scaled", [False, True], ids=["", "with a scaler"])
def test_a_step_that_found_no_room_is_made_in_pieces_once(
    nano: Detector,
    make_engine: MakeEngine,
    make_batch: MakeBatch,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    scaled: bool,
) -> None:
    """Two batches a step: both are learnt anew, and all is as if in pieces from that step on."""
    owner, name, call = STEPS[place]
    engine, clean = (
        make_engine(d, batches=6, nominal_batch=8, hyp={"warmup_epochs": 0})
        for d in (nano, deepcopy(nano))
    )
    if scaled:
        for each in (engine, clean):
            each.scaler = GradScaler("cpu", init_scale=1024.0, enabled=True)
    batches = [make_batch(4, seed) for seed in range(6)]
    with short_at(monkeypatch, owner, name, call) as calls:
        assert engine.run_epoch(batches, lambda: False)
    assert len(calls) == 4
    asked = iter(range(6))

    def halve() -> bool:
        """Told after each step: the next ones in pieces."""
        clean.position.pieces = 2 if next(asked) + 1 >= call else 1
        return False

    clean.position.pieces = 1 if call else 2
    assert clean.run_epoch(batches, halve)
    assert engine.position.pieces == 2
    assert_same(engine, clean)


def test_moments_that_were_only_begun_are_begun_again(
    nano: Detector, make_engine: MakeEngine, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adam makes its moments one by one; the fault leaves one with a step count and no more."""
    engine, clean = (make_engine(d, batches=1, optimizer="adam") for d in (nano, deepcopy(nano)))
    clean.position.pieces = 2
    real, steps = torch.optim.Adam.step, []

    def step(optimizer: torch.optim.Adam) -> Any:
        steps.append([len(state) for state in optimizer.state.values()])
        if len(steps) > 1:
            return real(optimizer)
        with short_at(monkeypatch, torch, "zeros_like", 25):
            return real(optimizer)

    engine.optimizer.step = partial(step, engine.optimizer)  # type: ignore[method-assign, arg-type]
    assert engine.run_epoch([make_batch(4, 0)], lambda: False)
    assert steps == [[], []], "nothing is left of the first attempt"
    assert clean.run_epoch([make_batch(4, 0)], lambda: False)
    assert_same(engine, clean)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_room_is_made_for_all_that_a_step_allocates(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Of the first step, which begins the moments, and of a later one."""
    engine = make_engine(batches=2, nominal_batch=4, optimizer=kind)
    learning = [p for group in engine.optimizer.param_groups for p in group["params"]]
    taken: list[int] = []
    real = torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda p: taken.append(p.numel()) or real(p))  # type: ignore[func-returns-value]
    for parameter in learning:
        parameter.grad = torch.zeros_like(parameter)
    room.make_room(engine.optimizer)
    copies = {"sgd": 2, "adam": 3}[kind]
    assert sum(taken) == copies * sum(p.numel() for p in learning)
    engine.optimizer.step()
    taken.clear()
    room.make_room(engine.optimizer)
    assert sum(taken) == sum(p.numel() for p in learning)


def test_a_step_that_others_may_have_made_is_not_tried_again(make_engine: MakeEngine) -> None:
    def short() -> bool:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    optimizer = make_engine().optimizer
    assert room.step_where_room(short, optimizer, Processes(), "epoch 1") is None
    several: Any = SimpleNamespace(count=2, any=bool)
    with pytest.raises(TrainingError, match=r"^epoch 1: memory ran out in the midst of an optim"):
        room.step_where_room(short, optimizer, several, "epoch 1")


def test_moments_that_were_moved_cannot_be_tried_again(make_engine: MakeEngine) -> None:
    """Adam allocates once more between its moments and the weights."""
    optimizer = make_engine(optimizer="adam").optimizer
    first = optimizer.param_groups[0]["params"][0]
    first.grad = torch.ones_like(first)
    optimizer.step()
    assert room.step_where_room(lambda: True, optimizer, Processes(), "epoch 1") is True

    def short() -> bool:
        optimizer.state[first]["exp_avg"].mul_(0.9)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(TrainingError, match=r"^epoch 1: memory ran out in the midst of an optim"):
        room.step_where_room(short, optimizer, Processes(), "epoch 1")


@pytest.mark.integration
def test_a_step_that_is_half_done_ends_the_run_and_the_last_save_is_whole(
    settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SGD has changed the biases when it comes to the weights, in the second epoch."""
    wanted, through, stopped = settings(epochs=2), tmp_path / "through", tmp_path / "stopped"
    start.run(wanted, through)
    message = (
        r"^epoch 2, batch 1: memory ran out in the midst of an optimizer step, which cannot be "
        r"undone\. The last save is whole: free memory on the device, and go on from it with --resu"
    )
    weights_of_third_step = 2 * 3 + 1
    with (
        pytest.raises(TrainingError, match=message),
        short_at(monkeypatch, sys.modules["torch.optim.sgd"], "sgd", weights_of_third_step),
    ):
        start.run(wanted, stopped)
    assert read_state(stopped / STATE)["position"]["epoch"] == 1
    start.resume(stopped)
    one, other = (load_weights(f / LAST).detector.state_dict() for f in (through, stopped))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
