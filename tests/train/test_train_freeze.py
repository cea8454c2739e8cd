"""`--freeze`: what its values mean, and that a frozen row computes what it did before."""

from collections.abc import Callable

import pytest
import torch

from prunus.core.errors import TrainingError
from prunus.core.records import Batch
from prunus.model.detector import Detector
from prunus.model.spec import read_arch
from prunus.train.engine import Engine
from prunus.train.freeze import (
    fingerprint,
    freeze_,
    freeze_table,
    frozen_rows,
    leading_rows,
    set_training_,
    still_prefix,
)

P5, P6 = read_arch("yolov5n"), read_arch("yolov5n6")


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ((), []),
        (("0",), []),
        (("10",), list(range(10))),
        ((10,), list(range(10))),
        (("0", "5"), [0, 5]),
        (("backbone",), list(range(10))),
        (("0-9",), list(range(10))),
        (("3-4", "7", "7"), [3, 4, 7]),
        (("24",), list(range(24))),
        (("neck",), list(range(10, 24))),
        (("backbone", "neck"), list(range(24))),
    ],
)
def test_values_of_freeze(values: tuple[int | str, ...], rows: list[int]) -> None:
    assert frozen_rows(values, P5) == tuple(rows)


def test_the_backbone_of_a_p6_network_has_twelve_rows() -> None:
    assert frozen_rows(("backbone",), P6) == tuple(range(12))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("26",), "there is no row 25: the rows are 0 to 24"),
        (("3", "40"), "there is no row 40"),
        (("25",), "all 25 rows would be frozen"),
        (("0-24",), "all 25 rows would be frozen"),
        (("nec",), "'nec' is no row"),
        (("9-0",), "'9-0' is no row"),
    ],
)
def test_what_cannot_be_frozen_is_said(values: tuple[str, ...], words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        frozen_rows(values, P5)


def test_freezing_sets_every_row_whatever_it_was_before(nano: Detector) -> None:
    nano.requires_grad_(False)  # as official checkpoints come
    freeze_(nano, (0, 3))
    for number, row in enumerate(nano.model):
        assert all(p.requires_grad == (number not in (0, 3)) for p in row.parameters())


def test_frozen_rows_are_bit_identical_after_real_steps(
    nano: Detector, make_engine: Callable[..., Engine], make_batch: Callable[..., Batch]
) -> None:
    before = {name: tensor.clone() for name, tensor in nano.state_dict().items()}
    engine = make_engine(freeze=["backbone"], nominal_batch=4)
    for _ in range(2):
        nano.train()  # as anyone might call in between
        engine.run_epoch([make_batch(4, seed) for seed in range(2)], lambda: False)
        engine.position.begin_next_epoch()
    assert engine.average.updates == 4
    rows = [f"model.{row}." for row in range(10)]
    for trained in (nano, engine.average.detector):
        for name, tensor in trained.state_dict().items():
            if any(name.startswith(row) for row in rows):
                assert torch.equal(tensor, before[name]), name
    assert not torch.equal(
        before["model.10.conv.weight"], nano.state_dict()["model.10.conv.weight"]
    )
    running = "model.10.bn.running_mean"
    assert not torch.equal(before[running], nano.state_dict()[running])


def test_the_table_tells_rows_parameters_and_share(nano: Detector) -> None:
    words = freeze_table(nano, frozen_rows(("backbone",), P5))
    frozen = sum(p.numel() for row in list(nano.model)[:10] for p in row.parameters())
    assert f"{frozen:,}" in words
    assert "10 rows" in words
    assert "SPPF" in words


@pytest.mark.parametrize(
    ("rows", "count"), [((), 0), ((1, 2), 0), ((0,), 1), ((0, 1, 2, 5), 3), (range(12), 12)]
)
def test_rows_before_the_first_that_learns(rows: tuple[int, ...], count: int) -> None:
    assert leading_rows(rows) == count


@pytest.mark.parametrize("count", [1, 10, 13, 24])
def test_a_still_prefix_computes_the_same_and_keeps_nothing(nano: Detector, count: int) -> None:
    rows = tuple(range(count))
    with torch.no_grad():
        for buffer in nano.buffers():
            if buffer.is_floating_point() and buffer.ndim == 1:
                buffer.add_(torch.rand_like(buffer))  # statistics that are not 0 and 1
    nano.double()
    freeze_(nano, rows)
    set_training_(nano, rows)
    network = still_prefix(nano, rows)
    images = torch.rand(2, 3, 64, 64).double()
    expected = nano(images)
    learnt = {name: p for name, p in nano.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(sum(m.square().sum() for m in expected), learnt.values())
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        maps = network(images)
    for one, other in zip(maps, expected, strict=True):
        torch.testing.assert_close(one, other)
    others = torch.autograd.grad(sum(m.square().sum() for m in maps), learnt.values())
    for name, one, other in zip(learnt, others, gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7, msg=name)
    frozen = {id(p) for row in list(network.model)[:count] for p in row.parameters()}
    assert not any(id(tensor) in frozen for tensor in kept)
    assert still_prefix(nano, (1, 2)) is nano


def test_the_network_that_runs_shares_what_learns(
    nano: Detector, make_engine: Callable[..., Engine], make_batch: Callable[..., Batch]
) -> None:
    engine = make_engine(freeze=["backbone"], nominal_batch=4, precision="bf16")
    before = fingerprint(nano, range(10))
    engine.run_epoch([make_batch(4, seed) for seed in range(2)], lambda: False)
    assert engine._network is not nano
    assert engine._network.model[10] is nano.model[10]
    assert fingerprint(nano, range(10)) == before
    with torch.no_grad():
        nano.model[3].bn.running_mean[0] += 1e-6  # type: ignore[union-attr, operator, index]
    assert fingerprint(nano, range(10)) != before
