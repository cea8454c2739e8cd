"""`prunus compress`: the main job, in one command."""

from prunus.pipeline.compress.config import CompressConfig

SETTINGS = CompressConfig
NOT_MET = 1


def run(settings: CompressConfig) -> dict[str, object]:
    from prunus.pipeline.compress.run import (
        compress,
    )  # late: torch loads only once the settings are right

    return compress(settings)


def status(report: dict[str, object]) -> int:
    """Return the exit status: 1 when the target is not met; 0 too where nothing can be promised."""
    verdict = report.get("verdict")
    return NOT_MET if isinstance(verdict, dict) and verdict["met"] is False else 0
