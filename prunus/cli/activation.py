"""`prunus activation`: the same weights with another activation."""

from prunus.pipeline.config import ActivationConfig

SETTINGS = ActivationConfig


def run(settings: ActivationConfig) -> dict[str, object]:
    from prunus.pipeline.activation import activation  # late: torch loads once they are right

    return activation(settings)
