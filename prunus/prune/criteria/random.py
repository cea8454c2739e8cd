"""Chance: what every other criterion must beat."""

from collections.abc import Sequence

import torch
from torch import Tensor

from prunus.model.channels.table import ChannelGroup
from prunus.prune.evidence import Evidence


def score(groups: Sequence[ChannelGroup], evidence: Evidence) -> dict[str, Tensor]:
    """Return scores even in [0, 1), which mean nothing; equal for equal groups and seeds."""
    chance = torch.Generator().manual_seed(evidence.seed)
    return {group.name: torch.rand(len(group), generator=chance) for group in groups}
