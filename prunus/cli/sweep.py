"""`prunus sweep`: many prunings on many workers, and the Pareto front."""

from prunus.pipeline.sweep.config import SweepConfig

SETTINGS = SweepConfig


def run(settings: SweepConfig) -> dict[str, object]:
    from prunus.pipeline.sweep.run import sweep  # late: torch loads only once settings are right

    return sweep(settings)
