"""What a cut would leave of a network in sparsity training: parameters, operations, a masked copy.

A cut of 50 % takes the half of all channels whose gammas are smallest, but leaves each layer
LEAST_CHANNELS; widths are not rounded. `prune` may choose otherwise: this tells how far the gammas
have come.
"""

from collections import defaultdict
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunus.model.channels.table import ChannelTable
from prunus.model.cost import flops_by_layer
from prunus.model.detector import Detector
from prunus.train.gammas import STAYS, Gammas

LEAST_CHANNELS = 8
"""As `prune` has it."""


@dataclass(frozen=True)
class Remains:
    """What a cut leaves.

    Attributes:
        parameters: Share of the parameters.
        flops: Share of the operations.
        removed: (channels,) whether each channel goes, by the numbers of `Gammas.channels`.
    """

    parameters: float
    flops: float
    removed: Tensor


class Forecaster:
    """Knows the network's channels and costs; asked again as the gammas move."""

    def __init__(self, detector: Detector, gammas: Gammas, table: ChannelTable) -> None:
        """Count what the whole network costs.

        Args:
            detector: The network.
            gammas: What may go.
            table: The network's channels.
        """
        self._gammas = gammas
        self._sizes = {name: parameter.shape for name, parameter in detector.named_parameters()}
        self._flops = flops_by_layer(detector)
        self._tags = {place: tags for place, tags in table.tags.items() if place[0] in self._sizes}
        self._layers, self._tag_of = _layout(gammas, table)

    def remains(self, gammas: Mapping[str, Tensor], share: float) -> Remains:
        """Return what is left after a cut.

        Args:
            gammas: (C,) of each batch norm, by name.
            share: Of the channels that may go, in (0, 1).
        """
        removed = self._weakest(gammas, share)
        gone = torch.zeros(int(max(tags.max() for tags in self._tags.values())) + 1)
        gone[self._tag_of[removed]] = 1
        kept: dict[str, float] = defaultdict(lambda: 1.0)
        for (name, _), tags in self._tags.items():
            kept[name] *= 1 - float((gone[tags.clamp(min=0)] * (tags >= 0)).mean())
        sizes = {name: size.numel() for name, size in self._sizes.items()}
        parameters = sum(count * kept[name] for name, count in sizes.items())
        flops = sum(count * kept[f"{name}.weight"] for name, count in self._flops.items())
        return Remains(parameters / sum(sizes.values()), flops / sum(self._flops.values()), removed)

    def masked(self, detector: Detector, remains: Remains) -> Detector:
        """Return a copy of the detector in which the removed channels are zero, and stay so."""
        copy = deepcopy(detector)
        modules = dict(copy.named_modules())
        for name, channels in self._gammas.channels.items():
            norm = modules[name]
            assert isinstance(norm, nn.BatchNorm2d)
            gone = (remains.removed[channels.clamp(min=0)] & (channels != STAYS)).to(
                norm.weight.device
            )
            norm.weight.data.masked_fill_(gone, 0)
            norm.bias.data.masked_fill_(gone, 0)
        return copy

    def _weakest(self, gammas: Mapping[str, Tensor], share: float) -> Tensor:
        scores = channel_scores(self._gammas, gammas)
        spared = scores.clone()
        for channels in self._layers:
            least = min(LEAST_CHANNELS, len(channels))
            strongest = scores[channels].topk(least).indices
            spared[channels[strongest]] = float("inf")
        removed = torch.zeros(len(scores), dtype=torch.bool)
        removed[spared.argsort(stable=True)[: round(share * len(scores))]] = True
        return removed & spared.isfinite()


def channel_scores(gammas: Gammas, values: Mapping[str, Tensor]) -> Tensor:
    """Return (channels,) the mean absolute gamma of each channel, on the CPU."""
    sums, counts = torch.zeros(gammas.count), torch.zeros(gammas.count)
    for name, channels in gammas.channels.items():
        own = channels != STAYS
        sizes = values[name].detach().float().cpu().abs()[own]
        sums.index_add_(0, channels[own], sizes)
        counts.index_add_(0, channels[own], torch.ones_like(sizes))
    return sums / counts.clamp(min=1)


def _layout(gammas: Gammas, table: ChannelTable) -> tuple[list[Tensor], Tensor]:
    """Return the channels of each group of layers, and the tag of each channel."""
    layers, tag_of = [], torch.zeros(gammas.count, dtype=torch.int64)
    for group in table.free_groups:
        found = torch.full((len(group),), STAYS)
        for slot in group.slots_of("scale"):
            numbers = gammas.channels.get(slot.module)
            if numbers is not None:
                own = slot.channel_of >= 0
                found[slot.channel_of[own]] = numbers[own]
        own = found != STAYS
        tag_of[found[own]] = group.tags[own]
        if bool(own.any()):
            layers.append(found[own])
    return layers, tag_of
