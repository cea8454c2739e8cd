"""`prunus sensitivity`: what is lost when a share of one group's channels goes, for every group."""

from prunus.prune.sensitivity.config import SensitivityConfig

SETTINGS = SensitivityConfig


def run(settings: SensitivityConfig) -> dict[str, object]:
    from prunus.pipeline.sensitivity import (
        sensitivity,
    )  # late: torch loads only once the settings are right

    return sensitivity(settings)
