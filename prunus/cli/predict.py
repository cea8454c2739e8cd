"""`prunus predict`: find objects in images."""

from prunus.predict.config import PredictConfig

SETTINGS = PredictConfig


def run(settings: PredictConfig) -> dict[str, object]:
    from prunus.pipeline.predict import (
        predict,
    )  # late: torch loads only once the settings are right

    return predict(settings)
