"""From what a trace has found out to the table: classes of tied tags, and groups of them."""

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

from prunus.model.channels.arrays import distinct, squeeze_repeats
from prunus.model.channels.table import ChannelGroup, ChannelTable, Place, Role, Slot
from prunus.model.channels.ties import CONSTANT
from prunus.model.channels.tracer import Tracer

ORPHAN = "no layer makes them"


def assemble(tracer: Tracer) -> ChannelTable:
    """Return the table of a finished trace."""
    _slots_of_elements(tracer)
    roots = torch.cat((tracer.ties.all_roots(), torch.tensor([CONSTANT])))  # [-1] stays CONSTANT
    tags = {place: roots[vector] for place, vector in tracer.slots.items()}
    frozen: dict[int, str] = {}
    for tag, why in tracer.pins.items():
        frozen.setdefault(int(roots[tag]), why)
    makers = _makers(tags, tracer.roles)
    for vector in tags.values():
        for tag in distinct(vector):
            if tag not in makers:
                frozen.setdefault(tag, ORPHAN)
    groups = _groups(tags, tracer.roles, makers, frozen)
    return ChannelTable(
        tags,
        dict(tracer.roles),
        frozen,
        groups,
        dict(tracer.norms),
        {path: roots[vector] for path, vector in tracer.sizes.items()},
        _apart(tracer, groups),
    )


def _apart(tracer: Tracer, groups: tuple[ChannelGroup, ...]) -> dict[str, str]:
    """Return the parameters that hold nothing of any group, and why."""
    held = {slot.tensor for group in groups for slot in group.slots}
    reasons = {}
    for name in tracer.parameters:
        if name in held:
            continue
        elements = tracer.elements.get(name)
        if elements is not None and elements.numel():
            reasons[name] = tracer.pins.get(int(elements.flatten()[0]), ORPHAN)
        else:
            reached = any(place[0] == name for place in tracer.slots)
            reasons[name] = "of fixed length" if reached else "no operation that is traced reads it"
    return reasons


def _slots_of_elements(tracer: Tracer) -> None:
    """Turn the tags of parameters used place by place into slots, where they lie along a dimension.

    Those that do not, and parameters that are used in both ways, are pinned.
    """
    whole = {name for name, _ in tracer.slots}
    for name, elements in tracer.elements.items():
        roots = squeeze_repeats(tracer.ties.roots(elements))
        changing = [dimension for dimension in range(roots.ndim) if roots.size(dimension) > 1]
        if len(changing) == 1 and (name not in whole or elements.ndim == 1):
            tracer.fill(name, changing[0], roots.flatten(), "value")
            continue
        tracer.pin(elements, f"meets all of {name} at once")
        for place, vector in tracer.slots.items():
            if place[0] == name:
                tracer.pin(vector, f"{name} is used in two ways")


def _makers(tags: Mapping[Place, Tensor], roles: Mapping[Place, Role]) -> dict[int, list[str]]:
    """Return, by tag, the weights that make it."""
    makers: dict[int, list[str]] = defaultdict(list)
    for place, vector in tags.items():
        if roles[place] == "filter":
            for tag in distinct(vector):
                makers[tag].append(place[0])
    return dict(makers)


def _groups(
    tags: Mapping[Place, Tensor],
    roles: Mapping[Place, Role],
    makers: Mapping[int, list[str]],
    frozen: Mapping[int, str],
) -> tuple[ChannelGroup, ...]:
    """Group the tags that the same layers make; frozen ones apart, by their reason."""
    members: dict[tuple[tuple[str, ...], str], list[int]] = defaultdict(list)
    for tag in _in_order(tags, roles):
        members[tuple(makers[tag]), frozen.get(tag, "")].append(tag)
    highest = max((int(vector.max()) for vector in tags.values()), default=0)
    group_of = torch.full((highest + 2,), CONSTANT)  # the last one answers for CONSTANT
    index_of = group_of.clone()
    for number, group_tags in enumerate(members.values()):
        group_of[group_tags] = number
        index_of[group_tags] = torch.arange(len(group_tags))
    slots: dict[int, list[Slot]] = defaultdict(list)
    for (name, dimension), vector in tags.items():
        owners = group_of[vector]
        for number in distinct(owners):
            channel_of = index_of[vector].where(owners == number, torch.tensor(CONSTANT))
            slots[number].append(Slot(name, dimension, roles[name, dimension], channel_of))
    return tuple(
        ChannelGroup(_name(weights), torch.tensor(group_tags), tuple(slots[number]), why)
        for number, ((weights, why), group_tags) in enumerate(members.items())
    )


def _in_order(tags: Mapping[Place, Tensor], roles: Mapping[Place, Role]) -> list[int]:
    """Return every tag that a layer makes, in the order of the filters."""
    ordered: dict[int, None] = {}
    for place, vector in tags.items():
        if roles[place] == "filter":
            ordered.update(dict.fromkeys(vector.tolist()))
    ordered.pop(CONSTANT, None)
    return list(ordered)


def _name(weights: tuple[str, ...]) -> str:
    """Name a group after the layers that make it."""
    return "+".join(weight.removesuffix(".weight") for weight in weights)
