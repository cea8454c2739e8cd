"""`prunus val`: measure how good a model is on a data set."""

from prunus.evaluate.config import ValConfig

SETTINGS = ValConfig


def run(settings: ValConfig) -> dict[str, object]:
    from prunus.pipeline.val import (
        val,
    )  # late: torch loads only once the settings are right

    return val(settings)
