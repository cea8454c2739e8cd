"""`prunus inspect`: show what is in a weights file."""

from prunus.weights.config import InspectConfig

SETTINGS = InspectConfig


def run(settings: InspectConfig) -> dict[str, object]:
    from prunus.pipeline.inspect import (
        inspect,
    )  # late: torch loads only once the settings are right

    return inspect(settings)
