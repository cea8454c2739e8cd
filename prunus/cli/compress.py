"""`prunus compress`: the main job, in one command."""

from prunus.pipeline.compress.config import CompressConfig

SETTINGS = CompressConfig


def run(settings: CompressConfig) -> dict[str, object]:
    from prunus.pipeline.compress.run import (
        compress,
    )  # late: torch loads only once the settings are right

    return compress(settings)
