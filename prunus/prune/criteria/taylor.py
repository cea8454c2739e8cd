"""Taylor: how much the loss would change, to first order, if a channel fell silent.

Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019, arXiv:1906.10771,
equations 8 and 9: the squared sum of gradient x weight over a channel's weights, averaged over
batches. With a gate of 1 on each channel, that is the squared gradient of the gate. The gate stands
where the channel is read, at the columns of all its readers: closing it there is what the cut does,
through residuals and concatenations. At the batch norm, further up, the activation in between would
be taken for a straight line, and both ends together would count the channel twice. Needs images
with labels.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.table import ChannelGroup, Slot
from prunus.prune.criteria.members import channels_first, has, streamed, sum_over_slots
from prunus.prune.evidence import Evidence
from prunus.prune.surgery import named_tensors

NAME = "taylor"


def score(groups: Sequence[ChannelGroup], evidence: Evidence) -> dict[str, Tensor]:
    """Return the squared first-order change of a batch's loss without the channel, on average.

    In squared units of the loss, for all layers alike: nothing is normalised. Works on a copy in
    eval mode, so that gradients, flags and batch norms of the network stay as they are.

    Raises:
        PruningError: There are no labels or no batches, or no loss depends on any of these weights.
    """
    losses, total = evidence.losses(NAME), evidence.images(NAME).total
    model = copy.deepcopy(evidence.model).eval()
    gates = {group.name: _gate(group) for group in groups}
    weights = _require_gradients(
        model, [slot for read, made in gates.values() for slot in (*read, *made)]
    )
    scores = {group.name: torch.zeros(len(group), dtype=torch.float64) for group in groups}
    batches, felt = 0, 0
    with torch.enable_grad():
        for loss in streamed(losses(model), NAME, total):
            batches += 1
            felt += loss.requires_grad
            products = _weight_times_gradient(loss, weights)
            for group in groups:
                scores[group.name] += _change(group, *gates[group.name], products).square()
    if groups and not felt:
        raise PruningError(
            f"criterion {NAME}: the loss depends on none of the weights that could go. Let it be "
            "computed from the network's outputs, without detach or no_grad."
        )
    return {name: (squares / batches).float() for name, squares in scores.items()}


def _gate(group: ChannelGroup) -> tuple[list[Slot], list[Slot]]:
    """Return the slots where channels are read, and where those that no weights read are made."""
    read = list(group.slots_of("column"))
    if bool(has(group, "column").all()):
        return read, []
    last = ("scale", "offset") if bool(has(group, "scale").all()) else ("filter", "bias")
    return read, [slot for slot in group.slots if slot.role in last]


def _require_gradients(model: nn.Module, slots: Iterable[Slot]) -> dict[str, Tensor]:
    """Ask for gradients of the tensors of these slots, of no others; return them by name."""
    model.requires_grad_(False)
    tensors = named_tensors(model)
    weights = {slot.tensor: tensors[slot.tensor] for slot in slots}
    for weight in weights.values():
        weight.requires_grad_(True)
    return weights


def _weight_times_gradient(loss: Tensor, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return zeros for what the loss does not depend on."""
    gradients: Iterable[Tensor] = map(torch.zeros_like, weights.values())
    if loss.requires_grad:
        gradients = torch.autograd.grad(
            loss, list(weights.values()), allow_unused=True, materialize_grads=True
        )
    return {
        name: weight.detach().float() * gradient.float()
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
    }


def _change(
    group: ChannelGroup, read: list[Slot], made: list[Slot], products: Mapping[str, Tensor]
) -> Tensor:
    """Return (n,) the sums of weight x gradient at the gate of each channel."""

    def values(slot: Slot) -> Tensor:
        return channels_first(products[slot.tensor], slot).sum(dim=1)

    total, readers = sum_over_slots(len(group), read, values)
    otherwise, _ = sum_over_slots(len(group), made, values)
    return torch.where(readers > 0, total, otherwise)
