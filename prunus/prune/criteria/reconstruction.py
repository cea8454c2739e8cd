"""Rise of the consumers' regression error: what the layers that read a channel cannot make up for.

Without channel c, a layer that reads it is solved anew from its other inputs. The least squared
error that this leaves is (Hassibi & Stork, "Optimal Brain Surgeon", NIPS 1992, eq. 5, for blocks)

    tr(W_c (H^-1)_cc^-1 W_c^T),   H: covariance of the layer's patches,

each output channel weighed by how much it matters to the network's outputs
(`observe.observation`). Channels go one by one, the least missed first; after each the weights and
the inverse are those of the network without it. So the score is the rise of the error at the moment
when a channel goes: the sum over the first k is the error without all of them. Needs images, no
labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from prunus.model.channels.table import ChannelGroup, Slot
from prunus.model.channels.ties import CONSTANT
from prunus.prune.evidence import Evidence, Observation
from prunus.prune.observe.moments import Moments, in_memory, measure_moments, needs
from prunus.prune.observe.observation import observe
from prunus.prune.observe.readers import readers

NAME = "reconstruction"
RIDGE = 1e-3
"""Added to the covariance's diagonal, relative to its mean."""


def score(groups: Sequence[ChannelGroup], evidence: Evidence) -> dict[str, Tensor]:
    """Return, by group name, (n,) rises of the error; what no layer reads costs nothing.

    Raises:
        PruningError: There are no images.
    """
    calibration = evidence.images(NAME)
    observation = evidence.observation or observe(
        evidence.model, evidence.table, calibration, evidence.seed
    )
    layers = {
        path: layer
        for path, layer in readers(evidence.model, evidence.table).items()
        if path in observation.layers
    }
    read = {
        group.name: [slot.module for slot in _columns(group) if slot.module in layers]
        for group in groups
    }
    by_name = {group.name: group for group in groups}
    scores: dict[str, Tensor] = {}
    for portion in in_memory(by_name, needs(layers), read):
        paths = list(dict.fromkeys(path for name in portion for path in read[name]))
        moments = measure_moments(evidence.model, observation, paths)
        for name in portion:
            scores[name] = _rises(by_name[name], evidence, observation, moments)
    return scores


@dataclass
class _Consumer:
    """A layer that reads the channels of a group.

    Attributes:
        weight: (O, D) rows scaled by how much they matter.
        inverse: (D, D) of the covariance.
        columns: (n, s) columns of each channel.
    """

    weight: Tensor
    inverse: Tensor
    columns: Tensor

    def rises(self) -> Tensor:
        """Return (n,) the error without each channel."""
        blocks = self.inverse[self.columns[:, :, None], self.columns[:, None, :]]
        own = self.weight[:, self.columns].permute(1, 2, 0)  # (n, s, O)
        solved: Tensor = torch.linalg.solve(blocks, own)
        return (solved * own).sum((1, 2))

    def drop(self, channel: int) -> None:
        """Solve for the layer without a channel; its place becomes harmless."""
        at = self.columns[channel]
        spread = torch.linalg.solve(self.inverse[at][:, at], self.inverse[at])
        self.weight = self.weight - self.weight[:, at] @ spread
        self.inverse = self.inverse - self.inverse[:, at] @ spread
        self.weight[:, at] = 0
        self.inverse[at] = 0
        self.inverse[:, at] = 0
        self.inverse[at, at] = 1


def _rises(
    group: ChannelGroup,
    evidence: Evidence,
    observation: Observation,
    moments: Mapping[str, Moments],
) -> Tensor:
    consumers = list(_consumers(group, evidence, observation, moments))
    scores = torch.zeros(len(group), dtype=torch.float64)
    alive = torch.ones(len(group), dtype=torch.bool)
    highest = 0.0
    for _ in range(len(group)):
        rises = torch.zeros(len(group), dtype=torch.float64)
        for consumer in consumers:
            rises += consumer.rises().cpu()
        rises[~alive] = torch.inf
        channel = int(rises.argmin())
        highest = max(highest, float(rises[channel]))  # so that scores keep the order of going
        scores[channel] = highest
        alive[channel] = False
        for consumer in consumers:
            consumer.drop(channel)
    return _distinct(scores).float()


def _distinct(scores: Tensor) -> Tensor:
    """Return the scores, finite whatever happened."""
    return scores.nan_to_num(nan=0.0, posinf=torch.finfo(torch.float32).max)


def _consumers(
    group: ChannelGroup,
    evidence: Evidence,
    observation: Observation,
    moments: Mapping[str, Moments],
) -> list[_Consumer]:
    consumers = []
    for slot in _columns(group):
        if slot.module not in moments:
            continue
        weight = evidence.tensors[slot.tensor].detach().double().flatten(1)
        covariance = moments[slot.module].covariance
        ridge = RIDGE * float(covariance.diagonal().mean()) + torch.finfo(torch.float64).tiny
        inverse = torch.linalg.inv(covariance + ridge * torch.eye(len(covariance)).to(covariance))
        matter = observation.layers[slot.module].weight.sqrt().to(weight)
        columns = _columns_of(slot.channel_of, len(group), weight.size(1) // len(slot.channel_of))
        if columns is not None:
            consumers.append(_Consumer(weight * matter[:, None], inverse, columns))
    return consumers


def _columns(group: ChannelGroup) -> list[Slot]:
    return [slot for slot in group.slots_of("column") if slot.dimension == 1]


def _columns_of(channel_of: Tensor, channels: int, kernel: int) -> Tensor | None:
    """Return (n, s) the columns of each channel, or None where some have more than others."""
    places = [(channel_of == channel).nonzero().flatten() for channel in range(channels)]
    if len({len(place) for place in places}) != 1:
        return None
    held = torch.stack(places)
    assert not bool((held == CONSTANT).any())
    return (held[..., None] * kernel + torch.arange(kernel)).flatten(1)
