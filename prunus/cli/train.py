"""`prunus train`: train or fine-tune a detector."""

from prunus.train.config import TrainConfig

SETTINGS = TrainConfig


def run(settings: TrainConfig) -> dict[str, object]:
    from prunus.pipeline.train import train  # late: torch loads only once the settings are right

    return train(settings)
