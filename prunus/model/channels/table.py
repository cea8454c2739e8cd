"""The result of a trace: who reads and who writes each channel of a network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from prunus.model.channels.ties import CONSTANT

Role = Literal["filter", "column", "bias", "scale", "offset", "statistic", "value"]
"""What one position of a tensor is to its channel.

filter: the weights that make it (rows of a convolution); column: weights that read it; bias: added
where it is made; scale, offset, statistic: of a normalisation; value: any other parameter that
meets it place by place.
"""

Place = tuple[str, int]
"""(name of a parameter or buffer, dimension)."""


@dataclass(frozen=True)
class Slot:
    """One dimension of one tensor, seen from one group of channels.

    Attributes:
        tensor: Name of the parameter or buffer.
        dimension: Which of its dimensions.
        role: What its positions are to the channels.
        channel_of: (size of the dimension,) index of the group's channel at each position, or
            CONSTANT where the position belongs to another group or to none.
    """

    tensor: str
    dimension: int
    role: Role
    channel_of: Tensor

    @property
    def module(self) -> str:
        """Return the path of the module that owns the tensor."""
        return self.tensor.rpartition(".")[0]


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that the same layers make: one width that can be chosen.

    Attributes:
        name: The layers that make them, joined by "+".
        tags: (n,) the channels, in the order of the first layer's filters.
        slots: Every tensor that holds something of these channels.
        frozen: Why none of them may go, or "" when they may.
    """

    name: str
    tags: Tensor
    slots: tuple[Slot, ...]
    frozen: str = ""

    def __len__(self) -> int:
        return len(self.tags)

    def slots_of(self, role: Role) -> tuple[Slot, ...]:
        """Return the slots of one role."""
        return tuple(slot for slot in self.slots if slot.role == role)

    def filters_per_channel(self) -> Tensor:
        """Return (n,) how many filters, over all layers, go when a channel goes."""
        counts = self.tags.new_zeros(len(self))
        for slot in self.slots_of("filter"):
            counts += slot.channel_of[slot.channel_of != CONSTANT].bincount(minlength=len(self))
        return counts


@dataclass(frozen=True)
class ChannelTable:
    """Every channel of a network, and every tensor that holds a part of it.

    Attributes:
        tags: For each traced dimension of a parameter or buffer, (size,) tags; equal tags must go
            together, CONSTANT belongs to no channel.
        roles: What each of those dimensions is to its channels.
        frozen: Tags that must stay, with the reason.
        groups: The channels that layers make, by the layers that make them. Every tag is in at most
            one of them.
        norms: For the weight of a layer whose output goes straight into a batch norm: the name of
            that batch norm's running mean.
        sizes: For modules that remember a number of channels but hold no tensor of that length, by
            path: (channels,) tags.
        apart: Parameters that hold nothing of any group, and why.
    """

    tags: Mapping[Place, Tensor]
    roles: Mapping[Place, Role]
    frozen: Mapping[int, str]
    groups: tuple[ChannelGroup, ...]
    norms: Mapping[str, str]
    sizes: Mapping[str, Tensor] = field(default_factory=dict)
    apart: Mapping[str, str] = field(default_factory=dict)

    @property
    def free_groups(self) -> tuple[ChannelGroup, ...]:
        """Return the groups whose channels may go."""
        return tuple(group for group in self.groups if not group.frozen)
