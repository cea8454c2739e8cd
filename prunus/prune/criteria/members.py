"""What criteria share: one score for channels that several layers make together.

A channel that goes, goes everywhere: its score is the mean over the layers that hold it. The mean
keeps what one layer needs badly and leaves what all need little, and does not grow with the number
of layers, as a sum would.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from prunus.model.channels.table import ChannelGroup, Role
from prunus.model.channels.ties import CONSTANT

Criterion = Callable[[ChannelGroup, Mapping[str, Tensor]], Tensor]
"""(group, the network's parameters by name) -> (n,) finite scores, float32, on the CPU.

Higher is more important. Only the order counts within a group; a global selection compares the
scores of all groups.
"""


def mean_over_members(
    group: ChannelGroup,
    tensors: Mapping[str, Tensor],
    role: Role,
    measure: Callable[[Tensor], Tensor],
) -> Tensor | None:
    """Return (n,) the mean of what `measure` says of each channel's place in each layer.

    Args:
        group: Tied channels.
        tensors: Parameters and buffers of the network, by name.
        role: Which slots are measured.
        measure: (size, ...) tensor, channels first -> (size,) values.

    Returns:
        None when a channel has no such slot.
    """
    total, count = torch.zeros(len(group)), torch.zeros(len(group))
    for slot in group.slots_of(role):
        channels_first = tensors[slot.tensor].detach().movedim(slot.dimension, 0).float()
        values = measure(channels_first).cpu()
        held = slot.channel_of != CONSTANT
        total.index_add_(0, slot.channel_of[held], values[held])
        count.index_add_(0, slot.channel_of[held], torch.ones(int(held.sum())))
    return None if bool((count == 0).any()) else total / count


def relative_to_layer(values: Tensor) -> Tensor:
    """Divide by the layer's mean, so that layers of large and of small weights can be compared."""
    return values / values.mean().clamp(min=torch.finfo(values.dtype).tiny)
