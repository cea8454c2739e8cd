"""`--freeze`: what its values mean, and that a frozen row computes what it did before."""

from collections.abc import Callable

import pytest
import torch

from prunus.core.errors import TrainingError
from prunus.core.records import Batch
from prunus.model.detector import Detector
from prunus.model.spec import read_arch
from prunus.train.engine import Engine
from prunus.train.freeze import freeze_, freeze_table, frozen_rows

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
        (("neck",), "'neck' is no row"),
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
