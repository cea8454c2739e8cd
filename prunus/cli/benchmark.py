"""`prunus benchmark`: models x runtimes, timed side by side."""

from prunus.export.config import BenchmarkConfig

SETTINGS = BenchmarkConfig
NONE_FAST_ENOUGH = 1


def run(settings: BenchmarkConfig) -> dict[str, object]:
    from prunus.pipeline.benchmark import benchmark  # late: torch loads once the settings are right

    return benchmark(settings)


def status(report: dict[str, object]) -> int:
    """Return the exit status: 1 when no model is fast enough for `--best-under`."""
    return NONE_FAST_ENOUGH if "best" in report and report["best"] is None else 0
