"""The batch-norm gammas that a sparsity training pulls on, and which of them go together.

Channels that meet in an addition can only be removed together, so their gammas belong to one
channel of the network. What cannot be removed is not pulled on: channels of the outputs, and those
that a frozen row makes, or that are tied to such ones. Nothing else is left out.
"""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunus.core.errors import TrainingError
from prunus.model.channels.table import ChannelGroup, ChannelTable
from prunus.model.channels.ties import CONSTANT
from prunus.model.channels.trace import trace
from prunus.model.detector import Detector

STAYS = -1
"""The channel of a gamma that is not pulled on."""


@dataclass(frozen=True)
class Gammas:
    """Batch norms, and the channels that their gammas belong to.

    Attributes:
        norms: By module name.
        channels: For each batch norm, (C,) int64 numbers of channels, counted over the whole
            network; STAYS where a gamma is not pulled on.
        table: Where that was read; None where channels are given by hand.
    """

    norms: dict[str, nn.BatchNorm2d]
    channels: dict[str, Tensor]
    table: ChannelTable | None = None

    @property
    def count(self) -> int:
        """Return how many channels may go."""
        every = torch.cat(list(self.channels.values()))
        return int(every.max()) + 1 if len(every) else 0


def prunable_gammas(detector: Detector, frozen: Collection[int]) -> Gammas:
    """Return the gammas to pull on: those whose channels can be removed.

    Args:
        detector: The detector.
        frozen: Rows that do not learn, and whose filters therefore stay.

    Raises:
        TrainingError: Nothing is left.
        PruningError: The channels cannot be traced.
    """
    side = 2 * detector.stride
    device = next(detector.parameters()).device
    table = trace(detector, torch.zeros(1, 3, side, side, device=device))
    modules = dict(detector.named_modules())
    norms: dict[str, nn.BatchNorm2d] = {}
    channels: dict[str, Tensor] = {}
    start = 0
    for group in table.free_groups:
        slots = [slot for slot in group.slots_of("scale") if _learns(modules[slot.module])]
        if not slots or _makers(group) & set(frozen):
            continue
        for slot in slots:
            norm = modules[slot.module]
            assert isinstance(norm, nn.BatchNorm2d)
            norms[slot.module] = norm
            known = channels.setdefault(slot.module, torch.full_like(slot.channel_of, STAYS))
            own = slot.channel_of != CONSTANT
            known[own] = slot.channel_of[own] + start
        start += len(group)
    if not norms:
        raise TrainingError(
            "sparsity: there is no batch norm to pull on. Freeze fewer rows, and start from a "
            "detector whose batch norms were not folded away."
        )
    order = [name for name in modules if name in norms]
    return Gammas(
        {name: norms[name] for name in order}, {name: channels[name] for name in order}, table
    )


def _learns(module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm2d) and module.weight.requires_grad


def _makers(group: ChannelGroup) -> set[int]:
    """Return the rows that make or normalise a group's channels."""
    slots = (*group.slots_of("filter"), *group.slots_of("scale"))
    return {int(slot.tensor.split(".")[1]) for slot in slots}
