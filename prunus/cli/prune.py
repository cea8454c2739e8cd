"""`prunus prune`: remove channels and write a smaller model."""

from prunus.prune.config import PruneConfig

SETTINGS = PruneConfig


def run(settings: PruneConfig) -> dict[str, object]:
    from prunus.pipeline.prune import prune  # late: torch loads only once the settings are right

    return prune(settings)
