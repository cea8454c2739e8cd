"""`prunus sparsify`: set weights to zero."""

from prunus.prune.masks.config import SparsifyConfig

SETTINGS = SparsifyConfig


def run(settings: SparsifyConfig) -> dict[str, object]:
    from prunus.pipeline.sparsify import (
        sparsify,
    )  # late: torch loads only once the settings are right

    return sparsify(settings)
