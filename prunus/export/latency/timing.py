"""From many noisy times to one that can be trusted, and calls that take turns."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

QUIET_SHARE = 3


def quiet_ms(times_ms: Sequence[float]) -> float:
    """Return the mean of the lowest third.

    Other load only ever adds time, so the low end is what the machine can do; the mean of several
    is steadier than the least one, and finer than a profiler's whole microseconds.
    """
    ordered = sorted(times_ms)
    return statistics.fmean(ordered[: max(1, len(ordered) // QUIET_SHARE)])


def clock_for(threads: int) -> Callable[[], float]:
    """Return a clock in seconds: the process's own time where it computes with one thread.

    A call of tens of milliseconds seldom gets through a busy machine undisturbed; the time that the
    process was not running is not counted. Several threads' times cannot be told apart, so there
    it is the wall's.
    """
    return time.process_time if threads == 1 else time.perf_counter


def time_in_turn(
    calls: Mapping[str, Callable[[], object]],
    *,
    threads: int = 1,
    rounds: int = 20,
    warmup: int = 2,
) -> dict[str, float]:
    """Return quiet milliseconds of each call; they take turns, so that noise hits all alike.

    Args:
        calls: By any name.
        threads: That the calls compute with; see `clock_for`.
        rounds: Measured calls of each.
        warmup: Calls of each before those.
    """
    clock = clock_for(threads)
    times_ms: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(-warmup, rounds):
        for name, call in calls.items():
            start = clock()
            call()
            if number >= 0:
                times_ms[name].append((clock() - start) * 1e3)
    return {name: quiet_ms(times) for name, times in times_ms.items()}
