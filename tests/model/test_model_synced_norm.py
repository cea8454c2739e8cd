"""Two processes with half of the images each compute what one computes with all of them."""

import os
import socket
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prunus.core.distributed import ALONE, processes
from prunus.model.build import build_detector
from prunus.model.loss import DetectionLoss, LossGains, LossTerms
from prunus.model.spec import read_arch
from prunus.model.synced_norm import SyncedBatchNorm, synchronise_norms_

IMAGES, PROCESSES = 6, 2
SHARES = (slice(0, 4), slice(4, 6))
"""Unequal on purpose."""


def images() -> Tensor:
    return torch.randn(IMAGES, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 3 + 5


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.Conv2d(4, 2, 1))


def trained_once(net: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    """Return all gradients and buffers after one backward pass of a sum over the images."""
    net.train()
    net(batch).square().sum().backward()
    gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    return {**gradients, **dict(net.named_buffers())}


def in_process(rank: int, port: int, job: str, results: "SimpleQueue[Any]") -> None:
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(PROCESSES), LOCAL_RANK=str(rank),
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
    )  # fmt: skip
    with processes("cpu") as together:
        results.put((rank, JOBS[job](rank, together)))


def norm_job(rank: int, together: Any) -> dict[str, Any]:
    net = network()
    synchronise_norms_(net, together)
    assert isinstance(net[1], SyncedBatchNorm)
    return {
        name: value.numpy() for name, value in trained_once(net, images()[SHARES[rank]]).items()
    }


def loss_job(rank: int, together: Any) -> list[float]:
    share = SHARES[rank]
    maps, targets = detector_maps()
    mine = (targets[:, 0] >= share.start) & (targets[:, 0] < share.stop)
    own = targets[mine].clone()
    own[:, 0] -= share.start
    terms = detector_loss()([level[share] for level in maps], own, together.weights)
    return [float(term) for term in terms.stacked()]


def words_job(rank: int, together: Any) -> tuple[list[int], str, bool, bool, bool]:
    return (
        together.gather(rank * 10), together.tell("from the first" if rank == 0 else "not me"),
        together.any(rank == 1), together.any(False), together.first,
    )  # fmt: skip


def average_job(rank: int, together: Any) -> list[list[float]]:
    tensors = [
        torch.full((2, 2), float(rank)),
        torch.tensor([4.0 * rank], dtype=torch.float64),
        torch.tensor([1.0, 1 + 2.0 * rank]),
    ]
    together.average_(tensors)
    return [tensor.flatten().tolist() for tensor in tensors]


JOBS = {"average": average_job, "norm": norm_job, "loss": loss_job, "words": words_job}


def run(job: str) -> list[Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = get_context("spawn")
    results = context.SimpleQueue()
    started = [
        context.Process(target=in_process, args=(rank, port, job, results))
        for rank in range(PROCESSES)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
        assert process.exitcode == 0
    return [
        found for _, found in sorted((results.get() for _ in started), key=lambda pair: pair[0])
    ]


def detector_maps() -> tuple[list[Tensor], Tensor]:
    """Return raw maps of IMAGES images and boxes in them, not the same number in each."""
    generator = torch.Generator().manual_seed(3)
    maps = [torch.randn(IMAGES, 3, side, side, 7, generator=generator) for side in (8, 4, 2)]
    numbers = torch.tensor([0, 0, 0, 1, 2, 2, 4, 5, 5], dtype=torch.float32)
    boxes = torch.rand(len(numbers), 4, generator=generator) * 0.5 + 0.2
    classes = torch.randint(0, 2, (len(numbers), 1), generator=generator)
    return maps, torch.cat((numbers[:, None], classes, boxes), dim=1)


def detector_loss() -> DetectionLoss:
    return DetectionLoss(build_detector(read_arch("yolov5n"), ("a", "b")), LossGains())


@pytest.mark.integration
def test_synced_norm_learns_as_one_process_with_all_images() -> None:
    whole = trained_once(network(), images())
    halves = run("norm")
    for name, value in whole.items():
        parts = [torch.from_numpy(half[name]) for half in halves]
        found = sum(parts) if name in dict(network().named_parameters()) else parts[0]  # type: ignore[arg-type]
        torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-4)


@pytest.mark.integration
def test_weighed_losses_average_to_the_loss_of_all_images() -> None:
    maps, targets = detector_maps()
    whole: LossTerms = detector_loss()(maps, targets)
    halves = torch.tensor(run("loss"))
    torch.testing.assert_close(halves.mean(0), whole.stacked(), rtol=1e-5, atol=1e-6)
    plain = [loss_job(rank, ALONE) for rank in range(PROCESSES)]
    assert not torch.allclose(torch.tensor(plain).mean(0), whole.stacked(), rtol=1e-3)


@pytest.mark.integration
def test_processes_hear_each_other() -> None:
    expected = ([0, 10], "from the first", True, False)
    assert run("words") == [(*expected, True), (*expected, False)]


@pytest.mark.integration
def test_tensors_of_any_kind_are_averaged_in_place() -> None:
    expected = [[0.5] * 4, [2.0], [1.0, 2.0]]
    assert run("average") == [expected, expected]


def test_alone_nothing_is_weighed_or_changed() -> None:
    assert ALONE.weights(torch.tensor([3.0, 0.0])).tolist() == [1.0, 1.0]
    assert (ALONE.gather(7), ALONE.tell("x"), ALONE.any(False)) == ([7], "x", False)
    net = network()
    synchronise_norms_(net, ALONE)
    assert type(net[1]) is nn.BatchNorm2d
