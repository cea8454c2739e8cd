"""Size of what a channel says on real images: one that is nearly silent is not missed.

Close to Hu et al., "Network Trimming", arXiv:1607.03250, which counts zeros; that asks for ReLU, so
here it is the root mean square. Measured at the inputs of the convolutions and linear layers that
read the channel, after activations, residuals and poolings. Needs images, no labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.probe import call_quietly, tensors_in
from prunus.model.channels.table import ChannelGroup, Role, Slot
from prunus.prune.criteria.members import relative_to_layer, streamed, sum_over_slots
from prunus.prune.evidence import Evidence

NAME = "activation"
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
READERS = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)
MAKERS = (*CONVOLUTIONS, nn.Linear)


@dataclass
class _Level:
    """How loud each channel at one side of a layer has been so far.

    Attributes:
        squares: (C,) sums of squares, float64, on the CPU; None before the layer has run.
        count: How many values each of them is of.
    """

    squares: Tensor | None = None
    count: int = 0

    def hear(self, signal: Tensor, dimension: int) -> None:
        """Add what passes, channels along `dimension`."""
        channels = signal.size(dimension)
        by_channel = signal.detach().movedim(dimension, 0).reshape(channels, -1)
        norms = torch.linalg.vector_norm(by_channel, dim=1, dtype=torch.float32)
        squares = norms.cpu().double().square()
        self.squares = squares if self.squares is None else self.squares + squares
        self.count += by_channel.size(1)


_Place = tuple[str, Role]
"""(path of a layer, "column": what it reads or "filter": what it makes)."""


def score(groups: Sequence[ChannelGroup], evidence: Evidence) -> dict[str, Tensor]:
    """Return root mean squares of what is read of a channel, relative to the reader's mean.

    Over all images and pixels; of several readers the mean. A score of 1 is as loud as the average
    channel of the layers that read it. A channel that no such layer reads (queries and keys of an
    attention) is measured where it is made, relative to its maker's mean.

    Raises:
        PruningError: There are no images, or a channel passes no layer that can be measured at.
    """
    images = evidence.images(NAME)
    slots = {group.name: _slots(evidence.model, group) for group in groups}
    levels = {(slot.module, slot.role): _Level() for heard in slots.values() for slot in heard}
    with _listening(evidence.model, levels):
        for inputs in streamed(images.batches(), NAME, images.total):
            call_quietly(evidence.model, inputs)
    return {group.name: _scores(group, slots[group.name], levels) for group in groups}


def _slots(model: nn.Module, group: ChannelGroup) -> list[Slot]:
    """Return where the channels of a group can be measured."""
    kinds = {"column": READERS, "filter": MAKERS}
    return [
        slot
        for slot in group.slots
        if isinstance(model.get_submodule(slot.module), kinds.get(slot.role, ()))
    ]


@contextmanager
def _listening(model: nn.Module, levels: Mapping[_Place, _Level]) -> Iterator[None]:
    """Measure at these places while the network runs; the hooks are gone afterwards."""
    hooks = []
    for (path, role), level in levels.items():
        layer = model.get_submodule(path)
        channels = 1 - cast(Tensor, layer.weight).ndim  # from the end: images may come in no batch

        def reads(
            _layer: object, given: object, named: object, level: _Level = level, at: int = channels
        ) -> None:
            level.hear(tensors_in((given, named))[0], at)

        def makes(
            _layer: object, _given: object, made: Tensor, level: _Level = level, at: int = channels
        ) -> None:
            level.hear(made, at)

        if role == "column":
            hooks.append(layer.register_forward_pre_hook(reads, with_kwargs=True))
        else:
            hooks.append(layer.register_forward_hook(makes))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _scores(group: ChannelGroup, slots: Sequence[Slot], levels: Mapping[_Place, _Level]) -> Tensor:
    """Return (n,) the mean level where the channel is read, or else where it is made."""

    def values(slot: Slot) -> Tensor:
        level = levels[slot.module, slot.role]
        squares = cast(Tensor, level.squares) / level.count
        per_place = squares.view(-1, len(slot.channel_of)).mean(dim=0)  # over a layer's groups
        return relative_to_layer(per_place.sqrt())

    sides = []
    for role in ("column", "filter"):
        heard = [slot for slot in slots if slot.role == role and levels[slot.module, role].count]
        sides.append(sum_over_slots(len(group), heard, values))
    (read, readers), (made, makers) = sides
    if bool((readers + makers == 0).any()):
        raise PruningError(
            f"{group.name}: criterion {NAME} measures at convolutions and linear layers that run, "
            "and none of them holds all of its channels. Choose --criterion l2, or keep the layer."
        )
    return torch.where(readers > 0, read / readers, made / makers).float()
