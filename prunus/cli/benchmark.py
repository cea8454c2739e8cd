"""`prunus benchmark`: time models side by side."""

from prunus.export.config import BenchmarkConfig

SETTINGS = BenchmarkConfig


def run(settings: BenchmarkConfig) -> dict[str, object]:
    from prunus.pipeline.benchmark import (
        benchmark,
    )  # late: torch loads only once the settings are right

    return benchmark(settings)
