"""Rise of the consumers' regression error: what the layers that read a channel cannot make up for.

Without channel c, a layer that reads it is solved anew from its other inputs. The least squared
error that this leaves is (Hassibi & Stork, "Optimal Brain Surgeon", NIPS 1992, eq. 5, for blocks)

    tr(W_c (H^-1)_cc^-1 W_c^T),   H: covariance of the layer's patches,

each output channel weighed by how much it matters to the network's outputs
(`observe.observation`). Channels go one by one, the least missed first; after each the weights and
the inverse are those of the network without it. So the score is the rise of the error at the moment
when a channel goes: the sum over the first k is the error without all of them. Needs images, no
labels.

What reads a channel and cannot be solved for (a grouped convolution, a product of two activations)
is charged the first-order change of the same outputs, as `taylor` measures it: in the same unit,
and nothing is made up for.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from prunus.model.channels.table import ChannelGroup, Slot
from prunus.model.channels.ties import CONSTANT
from prunus.prune.criteria import taylor
from prunus.prune.evidence import Calibration, Evidence, Observation, output_tensors
from prunus.prune.observe.moments import Moments, in_memory, measure_moments, moment_bytes
from prunus.prune.observe.observation import call, count_images, observe, pieces, signed_sum
from prunus.prune.observe.readers import patch_length, reader_at

NAME = "reconstruction"
RIDGE = 1e-3
"""Added to the covariance's diagonal, relative to its mean."""
SHRINK_AT = 0.75
"""Share of the channels left, of those held, at which what is held of the others is let go."""


def score(groups: Sequence[ChannelGroup], evidence: Evidence) -> dict[str, Tensor]:
    """Return, by group name, (n,) rises of the error; what nothing reads costs nothing.

    Raises:
        PruningError: There are no images.
    """
    calibration = evidence.images(NAME)
    observation = evidence.observation or observe(
        evidence.model, evidence.table, calibration, evidence.seed
    )
    read = {group.name: _solvable(group, observation) for group in groups}
    paths = {name: [slot.module for slot in slots] for name, slots in read.items()}
    needs = {path: moment_bytes(reader_at(evidence.model, path)) for path in observation.layers}
    by_name = {group.name: group for group in groups}
    charges = _first_order(groups, evidence, read)
    scores: dict[str, Tensor] = {}
    for portion in in_memory(by_name, needs, paths):
        wanted = list(dict.fromkeys(path for name in portion for path in paths[name]))
        moments = measure_moments(evidence.model, observation, wanted)
        inverses = {path: _inverse(moments.pop(path)) for path in wanted}
        for name in portion:
            consumers = list(_consumers(read[name], evidence, observation, inverses))
            scores[name] = _rises(consumers, charges[name])
    return scores


@dataclass
class _Consumer:
    """A layer that reads the channels of a group, as far as it reads those.

    Attributes:
        weight: (D, O) float64 columns, scaled by how much the outputs matter.
        inverse: (D, D) of the covariance of all that the layer reads; these columns' part.
        channel: (D,) the channel of each column.
    """

    weight: Tensor
    inverse: Tensor
    channel: Tensor

    def __post_init__(self) -> None:
        self._places = _by_length(self.channel)

    def rises(self, channels: int) -> Tensor:
        """Return (n,) the error without each channel."""
        rises = torch.zeros(channels, dtype=torch.float64)
        for held, at in self._places:
            blocks = self.inverse[at[:, :, None], at[:, None, :]]
            own = self.weight[at]  # (held, s, O)
            solved = torch.linalg.solve(blocks, own @ own.mT)
            rises[held] = solved.diagonal(dim1=1, dim2=2).sum(1).cpu()
        return rises

    def drop(self, channel: int) -> None:
        """Solve for the layer without a channel; its place becomes harmless."""
        at = (self.channel == channel).nonzero().flatten()
        if len(at) == 0:
            return
        spread = torch.linalg.solve(self.inverse[at][:, at], self.inverse[at])
        self.weight.addmm_(spread.T, self.weight[at], alpha=-1)
        self.inverse.addmm_(self.inverse[:, at], spread, alpha=-1)
        self.weight[at] = 0
        self.inverse[at] = 0
        self.inverse[:, at] = 0
        self.inverse[at, at] = 1

    def shrink(self, alive: Tensor) -> "_Consumer":
        """Return the same without the channels that are gone.

        Args:
            alive: (n,) which are not.
        """
        kept = alive[self.channel].nonzero().flatten()
        return _Consumer(self.weight[kept], self.inverse[kept][:, kept], self.channel[kept])


def _rises(consumers: list[_Consumer], charges: Tensor) -> Tensor:
    """Return (n,) what is added to the error as the channels go, the least missed first."""
    scores = torch.zeros_like(charges)
    alive = torch.ones(len(charges), dtype=torch.bool)
    held, highest = len(charges), 0.0
    for left in range(len(charges), 0, -1):
        if left < SHRINK_AT * held:
            consumers, held = [consumer.shrink(alive) for consumer in consumers], left
        rises = sum((consumer.rises(len(charges)) for consumer in consumers), charges)
        rises = rises.nan_to_num(nan=0.0, posinf=torch.finfo(torch.float32).max)
        channel = int(torch.where(alive, rises, torch.inf).argmin())
        highest = max(highest, float(rises[channel]))  # so that scores keep the order of going
        scores[channel] = highest
        alive[channel] = False
        for consumer in consumers:
            consumer.drop(channel)
    return scores.float()


def _consumers(
    slots: Sequence[Slot],
    evidence: Evidence,
    observation: Observation,
    inverses: Mapping[str, Tensor | None],
) -> Iterator[_Consumer]:
    for slot in slots:
        inverse = inverses[slot.module]
        if inverse is None:
            continue
        layer = reader_at(evidence.model, slot.module)
        matter = observation.layers[slot.module].weight.sqrt().to(inverse)
        weight = layer.weight.detach().to(inverse).flatten(1).T * matter
        channel = slot.channel_of.repeat_interleave(patch_length(layer) // len(slot.channel_of))
        at = (channel != CONSTANT).nonzero().flatten()
        yield _Consumer(weight[at], inverse[at][:, at], channel[at])


def _inverse(moments: Moments) -> Tensor | None:
    """Return (D, D) the inverse of the covariance, or None where nothing ever changes."""
    mean = float(moments.covariance.diagonal().mean())
    if mean <= 0:
        return None
    moments.covariance.diagonal().add_(RIDGE * mean)
    inverse: Tensor = torch.linalg.inv(moments.covariance)
    return inverse


def _by_length(channel: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return (channels, their places) by the number of places that a channel has.

    Args:
        channel: (D,) the channel of each place.

    Returns:
        (m,) channels with (m, s) places, for every s.
    """
    order = channel.argsort(stable=True)
    lengths = channel.bincount()
    held = lengths.nonzero().flatten()
    lengths = lengths[held]
    starts = lengths.cumsum(0) - lengths
    return [
        (held[same], order[starts[same][:, None] + torch.arange(length)])
        for length in sorted(set(lengths.tolist()))
        for same in [lengths == length]
    ]


def _solvable(group: ChannelGroup, observation: Observation) -> list[Slot]:
    """Return where the channels are read by layers that were observed."""
    return [
        slot
        for slot in group.slots_of("column")
        if slot.dimension == 1
        and slot.module in observation.layers
        and slot.tensor == f"{slot.module}.weight"
    ]


def _first_order(
    groups: Sequence[ChannelGroup], evidence: Evidence, solved: Mapping[str, Sequence[Slot]]
) -> dict[str, Tensor]:
    """Return, by group name, (n,) float64: the change for readers that cannot be solved for."""
    charges = {group.name: torch.zeros(len(group), dtype=torch.float64) for group in groups}
    others = []
    for group in groups:
        columns = group.slots_of("column")
        done = {slot.tensor for slot in solved[group.name]}
        rest = tuple(slot for slot in columns if slot.tensor not in done)
        if rest or not columns:
            others.append(replace(group, slots=rest or group.slots))
    if others:
        calibration = _signed_losses(evidence.images(NAME), evidence.seed)
        for name, change in taylor.score(
            others, replace(evidence, calibration=calibration)
        ).items():
            charges[name] = change.double()
    return charges


def _signed_losses(calibration: Calibration, seed: int) -> Calibration:
    """Return images whose loss is the signed sum of the outputs, in the unit of one image."""

    def losses(model: nn.Module) -> Iterator[Tensor]:
        random = torch.Generator().manual_seed(seed)
        for batch in calibration.batches():
            for piece in pieces(batch):
                outputs = output_tensors(call(model, piece))
                loss = signed_sum(outputs, calibration.weigh, random) / count_images(piece) ** 0.5
                yield loss.requires_grad_()  # though it depend on nothing that is asked about

    return replace(calibration, losses=losses, total=None)
