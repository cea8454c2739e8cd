"""Milliseconds per batch of several runners, measured so that the machine's noise hits all alike.

All runners take turns in one loop (A B C A B C …): a neighbour's load, a frequency step or a warm
room then shifts every median, and the ratios stay. Compare figures of one call only.
"""

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from prunus.core.errors import ExportError
from prunus.core.records import Runner, Size

SEED = 0


@dataclass(frozen=True)
class Latency:
    """What one runner took for a batch, from uint8 images to candidates.

    Attributes:
        median_ms: Wall time of one call.
        iqr_ms: Distance between the quartiles of the calls: how much to trust the median.
        images_per_second: Images of a batch over the median.
        repeats: Calls measured.
    """

    median_ms: float
    iqr_ms: float
    images_per_second: float
    repeats: int


def measure_latency(
    runners: Mapping[str, Runner],
    size_hw: Size,
    *,
    batch: int = 1,
    repeats: int = 30,
    warmup: int = 5,
    threads: int = 1,
) -> dict[str, Latency]:
    """Time all runners in turn.

    Args:
        runners: By name. ONNX Runtime's threads are set as a runner is opened: give it `threads`.
        size_hw: Of the images, in pixels.
        batch: Images in one call.
        repeats: Measured rounds, at least 2.
        warmup: Rounds before them, not measured.
        threads: torch's threads while this runs.

    Raises:
        ExportError: A runner takes another size or batch only, or there is nothing to measure.
    """
    if not runners or repeats < 2:
        raise ExportError("a benchmark needs at least one model and two repeats.")
    for name, runner in runners.items():
        _check_fits(name, runner, size_hw, batch)
    generator = torch.Generator().manual_seed(SEED)
    images = torch.randint(0, 256, (batch, 3, *size_hw), dtype=torch.uint8, generator=generator)
    times_ms: dict[str, list[float]] = {name: [] for name in runners}
    with torch_threads(threads):
        for round_number in range(-warmup, repeats):
            for name, runner in runners.items():
                elapsed_ms = _time_once(runner, images)
                if round_number >= 0:
                    times_ms[name].append(elapsed_ms)
    return {name: summarise(times, batch) for name, times in times_ms.items()}


def summarise(times_ms: list[float], batch: int) -> Latency:
    """Return median and spread of at least two measured times."""
    low, _, high = statistics.quantiles(times_ms, n=4)
    median_ms = statistics.median(times_ms)
    return Latency(median_ms, high - low, batch * 1e3 / median_ms, len(times_ms))


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_fits(name: str, runner: Runner, size_hw: Size, batch: int) -> None:
    wanted = (runner.size_hw or size_hw, runner.batch or batch)
    if wanted != (size_hw, batch):
        (height, width), only_batch = wanted
        raise ExportError(
            f"{name}: takes batches of {only_batch} at {height}x{width} only, but {batch} at "
            f"{size_hw[0]}x{size_hw[1]} were asked for. Export it again with --dynamic."
        )


def _time_once(runner: Runner, images: Tensor) -> float:
    """Return the milliseconds of one call, waiting for the GPU where there is one."""
    start = time.perf_counter()
    candidates = runner(images)
    if candidates.is_cuda:
        torch.cuda.synchronize(candidates.device)
    return (time.perf_counter() - start) * 1e3
