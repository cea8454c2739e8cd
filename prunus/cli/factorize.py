"""`prunus factorize`: make two convolutions of one where that saves operations."""

from prunus.prune.low_rank.config import FactorizeConfig

SETTINGS = FactorizeConfig


def run(settings: FactorizeConfig) -> dict[str, object]:
    from prunus.pipeline.factorize import (
        factorize,
    )  # late: torch loads only once the settings are right

    return factorize(settings)
