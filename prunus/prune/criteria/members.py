"""What criteria share: one score for channels that several layers make and read together.

A channel that goes, goes everywhere: its score is mostly the mean over the layers that hold it. The
mean keeps what one layer needs badly and leaves what all need little, and does not grow with the
number of layers, as a sum would.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from prunus.core.console import track
from prunus.core.errors import PruningError
from prunus.model.channels.table import ChannelGroup, Role, Slot
from prunus.model.channels.ties import CONSTANT
from prunus.prune.evidence import Evidence

Item = TypeVar("Item")

Criterion = Callable[[Sequence[ChannelGroup], Evidence], dict[str, Tensor]]
"""(groups to score, what may be looked at) -> by group name, (n,) scores, float32, on the CPU.

Finite; higher is more important. Only the order counts within a group; a global selection compares
the scores of all groups and takes the damage of removing several channels for the sum of their
scores. The network and everything in it stays as it is.
"""

GroupCriterion = Callable[[ChannelGroup, Mapping[str, Tensor]], Tensor]
"""(group, the network's parameters and buffers by name) -> (n,) scores: looks at weights only."""


def per_group(score: GroupCriterion) -> Criterion:
    """Make a criterion of one that looks at the weights of one group at a time."""

    def criterion(groups: Sequence[ChannelGroup], evidence: Evidence) -> dict[str, Tensor]:
        tensors = evidence.tensors
        return {group.name: score(group, tensors).float() for group in groups}

    return criterion


def streamed(batches: Iterable[Item], name: str, total: int | None) -> Iterator[Item]:
    """Yield what a criterion of that name looks at, with a progress bar.

    Raises:
        PruningError: There is nothing to look at.
    """
    empty = True
    for batch in track(batches, name, total):
        empty = False
        yield batch
    if empty:
        raise PruningError(f"criterion {name}: there are no images. Give a data set with images.")


def sum_over_slots(
    count: int, slots: Sequence[Slot], values: Callable[[Slot], Tensor]
) -> tuple[Tensor, Tensor]:
    """Add up what is said of every position that a channel has.

    Args:
        count: n, the channels of the group.
        slots: Which tensors count.
        values: Slot -> a value for each of its positions, those of other groups included.

    Returns:
        (n,) sums and (n,) how many positions they are of, float64, on the CPU.
    """
    total = torch.zeros(count, dtype=torch.float64)
    positions = torch.zeros(count, dtype=torch.float64)
    for slot in slots:
        held = slot.channel_of != CONSTANT
        total.index_add_(0, slot.channel_of[held], values(slot).detach().cpu().double()[held])
        positions += slot.channel_of[held].bincount(minlength=count)
    return total, positions


def channels_first(tensor: Tensor, slot: Slot) -> Tensor:
    """Return the slot's tensor as (size, everything else), float32."""
    return tensor.detach().movedim(slot.dimension, 0).reshape(len(slot.channel_of), -1).float()


def mean_over_members(
    group: ChannelGroup,
    tensors: Mapping[str, Tensor],
    role: Role,
    measure: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return (n,) the mean of what `measure` says of each channel's place in each layer.

    Args:
        group: Tied channels.
        tensors: Parameters and buffers of the network, by name.
        role: Which slots are measured.
        measure: (size, weights) tensor, channels first -> (size,) values.

    Returns:
        float64; 0 for a channel that has no such slot. All have a filter.
    """
    total, positions = sum_over_slots(
        len(group),
        group.slots_of(role),
        lambda slot: measure(channels_first(tensors[slot.tensor], slot)),
    )
    return total / positions.clamp(min=1)


def summed_squares(
    group: ChannelGroup, tensors: Mapping[str, Tensor], roles: Sequence[Role]
) -> Tensor:
    """Return (n,) the sum of the squares of all weights of those roles that each channel has."""
    slots = [slot for slot in group.slots if slot.role in roles]
    total, _ = sum_over_slots(
        len(group),
        slots,
        lambda slot: channels_first(tensors[slot.tensor], slot).square().sum(dim=1),
    )
    return total


def has(group: ChannelGroup, role: Role) -> Tensor:
    """Return (n,) whether the channel has a slot of the role.

    No weights read ("column") the channels of two activations that are multiplied: queries and keys
    of an attention.
    """
    found = torch.zeros(len(group), dtype=torch.bool)
    for slot in group.slots_of(role):
        found[slot.channel_of[slot.channel_of != CONSTANT]] = True
    return found


def relative_to_layer(values: Tensor) -> Tensor:
    """Divide by the layer's mean, so that layers of large and of small weights can be compared."""
    return values / values.mean().clamp(min=torch.finfo(values.dtype).tiny)
