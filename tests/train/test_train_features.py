"""Imitation of feature maps: a correlation by hand, adapters for narrow students, and resuming."""

import os
import socket
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prunus.core.distributed import processes
from prunus.core.records import Batch
from prunus.model.build import build_detector
from prunus.model.detector import Detector
from prunus.model.spec import read_arch
from prunus.train.build import build_engine
from prunus.train.config import TrainConfig
from prunus.train.distill import Teacher
from prunus.train.engine import Engine
from prunus.train.features import dissimilarity, head_widths

CPU = torch.device("cpu")


def test_dissimilarity_is_one_minus_the_correlation() -> None:
    torch.manual_seed(0)
    one, other = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    expected = []
    for channel in range(3):
        pair = torch.stack((one[:, channel].flatten(), other[:, channel].flatten()))
        expected.append(1 - pair.corrcoef()[0, 1])
    wanted = torch.stack(expected).mean()
    torch.testing.assert_close(dissimilarity(one, other), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_neither_scale_nor_offset_counts(scale: float) -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 4, 5)
    assert dissimilarity(maps * scale + 5, maps).item() == pytest.approx(0, abs=1e-3)
    assert dissimilarity(-maps * scale, maps).item() == pytest.approx(2, abs=1e-3)
    assert dissimilarity(torch.ones_like(maps), maps).isfinite()


def test_the_term_is_part_of_the_objectness(
    nano: Detector, make_engine: Callable[..., Engine], make_batch: Callable[..., Batch]
) -> None:
    batch = make_batch(4, 0)
    engine = make_engine()
    teacher = Teacher(build_detector(nano.spec, nano.names), CPU, "fp32")
    engine.teacher = teacher
    plain = engine._forward(batch, 0)
    adapters = teacher.show_features(nano, gain=2.0)
    assert all(isinstance(adapter, nn.Identity) for adapter in adapters)
    terms = engine._forward(batch, 0)
    assert teacher.features is not None
    own, taught = teacher.features._student.maps, teacher.features._teacher.maps
    assert [tuple(one.shape) for one in own] == [(4, 64, 8, 8), (4, 128, 4, 4), (4, 256, 2, 2)]
    by_hand = sum(dissimilarity(one, other) for one, other in zip(own, taught, strict=True))
    torch.testing.assert_close(terms.objectness - plain.objectness, 2 * by_hand)  # type: ignore[operator]
    torch.testing.assert_close(terms.box, plain.box)


@pytest.fixture
def wide(nano: Detector) -> Detector:
    torch.manual_seed(3)
    return build_detector(read_arch("yolov5s"), nano.names)


def test_a_narrow_student_learns_with_adapters_that_are_resumed(
    nano: Detector, wide: Detector, make_batch: Callable[..., Batch]
) -> None:
    settings = TrainConfig(
        epochs=1, batch_size=4, nominal_batch=4, precision="fp32", device="cpu",
        teacher_features=1.0, hyp={"warmup_epochs": 0},
    )  # fmt: skip
    engine = build_engine(nano, settings, image_size=64, batches=1, teacher=wide)
    assert engine.teacher is not None
    before = {name: tensor.clone() for name, tensor in engine.teacher.state().items()}
    assert [t.shape[:2] for t in before.values()] == list(
        zip(head_widths(wide), head_widths(nano), strict=True)
    )
    held = {id(p) for group in engine.optimizer.param_groups for p in group["params"]}
    assert engine.teacher.features is not None
    assert all(id(p) in held for p in engine.teacher.features.adapters.parameters())
    engine.run_epoch([make_batch(4, 0)], lambda: False)
    learnt = engine.teacher.state()
    assert all(not torch.equal(learnt[name], tensor) for name, tensor in before.items())
    assert not any("adapter" in name for name in nano.state_dict())
    engine.teacher.restore_(before)
    assert all(torch.equal(engine.teacher.state()[name], t) for name, t in before.items())


def test_imitating_brings_the_maps_closer() -> None:
    torch.manual_seed(0)
    images, teacher = torch.randn(4, 3, 8, 8), nn.Conv2d(3, 6, 3)
    student = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 1, bias=False))
    optimizer = torch.optim.SGD(student.parameters(), lr=0.5)
    terms = []
    for _ in range(60):
        term = dissimilarity(student(images), teacher(images).detach())
        optimizer.zero_grad()
        term.backward()
        optimizer.step()
        terms.append(term.item())
    assert terms[0] > 0.7
    assert terms[-1] < 0.3


SHARES = slice(0, 3), slice(3, 4)
"""Of four images, unequal on purpose."""


def maps_of_four() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    own, other = (torch.randn(4, 3, 4, 5, generator=generator) for _ in range(2))
    return own * torch.arange(1.0, 5).view(4, 1, 1, 1), own + other


def in_process(rank: int, port: int, results: "SimpleQueue[Any]") -> None:
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank),
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
    )  # fmt: skip
    own, taught = (maps[SHARES[rank]] for maps in maps_of_four())
    own.requires_grad_()
    with processes("cpu") as together:
        weight = together.weights(torch.tensor([len(own)]))
        term = dissimilarity(own, taught, together) * weight.item()
        term.backward()
    assert own.grad is not None
    results.put((rank, term.item(), own.grad.tolist()))


@pytest.mark.integration
def test_two_processes_imitate_as_one_with_all_images() -> None:
    own, taught = maps_of_four()
    own.requires_grad_()
    whole = dissimilarity(own, taught)
    whole.backward()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = get_context("spawn")
    results = context.SimpleQueue()
    started = [context.Process(target=in_process, args=(rank, port, results)) for rank in (0, 1)]
    for process in started:
        process.start()
    parts = sorted(results.get() for _ in started)
    for process in started:
        process.join(60)
        assert process.exitcode == 0
    assert sum(term for _, term, _ in parts) / 2 == pytest.approx(whole.item(), rel=1e-5)
    assert own.grad is not None
    for (_, _, gradient), share in zip(parts, SHARES, strict=True):
        torch.testing.assert_close(torch.tensor(gradient) / 2, own.grad[share])
