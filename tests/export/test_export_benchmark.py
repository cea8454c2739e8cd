"""All runners are timed in turn, and the figures are medians."""

import time

import pytest
import torch
from torch import Tensor

from prunus.core.errors import ExportError
from prunus.export.benchmark import measure_latency, summarise


class Sleeper:
    """A runner that takes a known time and notes when it was called."""

    names, stride = ("a",), 32

    def __init__(
        self,
        name: str,
        diary: list[str],
        seconds: float = 0.0,
        size_hw: tuple[int, int] | None = None,
        batch: int | None = None,
    ) -> None:
        self.name, self.diary, self.seconds = name, diary, seconds
        self.size_hw, self.batch = size_hw, batch
        self.seen: list[tuple[tuple[int, ...], torch.dtype, int]] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.diary.append(self.name)
        self.seen.append((tuple(images.shape), images.dtype, torch.get_num_threads()))
        time.sleep(self.seconds)
        return torch.zeros(len(images), 1, 6)


def test_runners_take_turns_and_warm_up_is_not_counted() -> None:
    diary: list[str] = []
    runners = {name: Sleeper(name, diary) for name in "ABC"}
    latencies = measure_latency(runners, (32, 64), repeats=4, warmup=2)
    assert "".join(diary) == "ABC" * 6
    assert list(latencies) == ["A", "B", "C"]
    assert {latency.repeats for latency in latencies.values()} == {4}


def test_the_slower_runner_is_slower() -> None:
    diary: list[str] = []
    runners = {"fast": Sleeper("f", diary, 0.001), "slow": Sleeper("s", diary, 0.010)}
    latencies = measure_latency(runners, (32, 32), batch=2, repeats=5, warmup=1)
    assert latencies["slow"].median_ms > 10
    assert latencies["slow"].median_ms > 2 * latencies["fast"].median_ms
    slow = latencies["slow"]
    assert slow.images_per_second == pytest.approx(2e3 / slow.median_ms)


def test_images_and_threads_are_those_asked_for_and_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    runner = Sleeper("A", [])
    measure_latency({"A": runner}, (64, 96), batch=2, repeats=2, warmup=0, threads=before + 1)
    assert set(runner.seen) == {((2, 3, 64, 96), torch.uint8, before + 1)}
    assert torch.get_num_threads() == before


def test_median_and_spread_by_hand() -> None:
    latency = summarise([10.0, 11.0, 12.0, 13.0, 1000.0], batch=3)
    assert latency.median_ms == 12.0
    # exclusive quartiles of five: positions 1.5 and 4.5
    assert latency.iqr_ms == pytest.approx((13 + 1000) / 2 - 10.5)
    assert latency.images_per_second == pytest.approx(250)


@pytest.mark.parametrize("factor", [2.0, 10.0])
def test_times_that_all_grow_change_medians_and_spread_alike(factor: float) -> None:
    times = [3.0, 5.0, 4.0, 9.0]
    once, scaled = summarise(times, 1), summarise([t * factor for t in times], 1)
    assert scaled.median_ms == pytest.approx(once.median_ms * factor)
    assert scaled.iqr_ms == pytest.approx(once.iqr_ms * factor)
    assert scaled.images_per_second == pytest.approx(once.images_per_second / factor)


def test_a_runner_of_another_size_or_batch_is_refused_before_anything_runs() -> None:
    diary: list[str] = []
    runners = {"A": Sleeper("A", diary), "B": Sleeper("B", diary, size_hw=(320, 320))}
    with pytest.raises(ExportError, match=r"B: takes batches of 1 at 320x320 only, but 1 at 64x64"):
        measure_latency(runners, (64, 64), repeats=2)
    runners = {"B": Sleeper("B", diary, batch=2)}
    with pytest.raises(ExportError, match="B: takes batches of 2 at 64x64 only"):
        measure_latency(runners, (64, 64), repeats=2)
    assert diary == []


def test_nothing_to_measure_is_told() -> None:
    with pytest.raises(ExportError, match="at least one model and two repeats"):
        measure_latency({}, (64, 64))
    with pytest.raises(ExportError, match="at least one model and two repeats"):
        measure_latency({"A": Sleeper("A", [])}, (64, 64), repeats=1)
