"""What the layers that make a carrier must add, so that its readers find 1."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from prunus.model.channels.probe import Inputs
from prunus.model.channels.table import ChannelTable, Role
from prunus.prune.readers import Reader, readers_of
from prunus.prune.repair.reading import Seen, look
from prunus.prune.surgery import named_tensors

STEPS = 16
"""Trials of an offset. SiLU takes 4; what never says 1 (a sigmoid) is left at the best of them."""
NEAR_ONE = 1e-6
FURTHEST = 8.0
"""No offset lies further from zero."""

FILLED: Mapping[Role, float] = {"filter": 0.0, "scale": 0.0, "offset": 1.0, "bias": 1.0}
"""What a carrier's places get, as a multiple of its offset."""


class Made(NamedTuple):
    """Where one dimension of a tensor of the smaller network holds a channel.

    Attributes:
        tensor: Its name.
        dimension: Which one.
        positions: (n,) in it.
        share: What they get, as a multiple of the offset.
    """

    tensor: str
    dimension: int
    positions: Tensor
    share: float


def tune_(
    trial: nn.Module,
    table: ChannelTable,
    tags: Tensor,
    carriers: Mapping[str, int],
    inputs: Inputs,
) -> tuple[dict[str, float], dict[str, Seen]]:
    """Find offsets with which the first reader of each carrier finds 1, by secants of all at once.

    Returns:
        Group -> offset; path -> what layers read then.
    """
    readers = {name: readers_of(table, torch.tensor([tag])) for name, tag in carriers.items()}
    makers = {name: makers_of(table, tags, tag) for name, tag in carriers.items()}
    everyone = [reader for several in readers.values() for reader in several]
    tried: dict[str, list[tuple[float, float]]] = {name: [] for name in carriers}
    for _ in range(STEPS if carriers else 0):
        for name in carriers:
            emit_(trial, makers[name], _next_offset(tried[name]))
        heard = look(trial, everyone, inputs)
        for name, tag in carriers.items():
            value = _first_found(table, tags, tag, readers[name], heard)
            tried[name].append((_next_offset(tried[name]), value))
        if all(abs(history[-1][1] - 1) <= NEAR_ONE for history in tried.values()):
            break
    offsets = {
        name: min(history, key=lambda pair: abs(pair[1] - 1))[0] for name, history in tried.items()
    }
    for name, offset in offsets.items():
        emit_(trial, makers[name], offset)
    return offsets, look(trial, everyone, inputs)


def _next_offset(tried: Sequence[tuple[float, float]]) -> float:
    """Return the next offset to try, after pairs (offset, what was found)."""
    if not tried:
        return 1.0
    offset, value = tried[-1]
    if len(tried) == 1:
        return offset + 1 - value
    rise = value - tried[-2][1]
    if rise == 0:  # found, or out of reach
        return offset
    step = (1 - value) * (offset - tried[-2][0]) / rise
    return min(max(offset + step, -FURTHEST), FURTHEST)


def _first_found(
    table: ChannelTable,
    tags: Tensor,
    tag: int,
    readers: Sequence[Reader],
    heard: Mapping[str, Seen],
) -> float:
    """Return what the first layer to run finds of a carrier."""
    by_path = {reader.path: reader for reader in readers}
    for path, seen in heard.items():
        if path in by_path:
            reader = by_path[path]
            held = table.tags[reader.weight, reader.dimension]
            return float(seen.constants()[positions_of(held, tags, tag)[0]])
    return 1.0


def makers_of(table: ChannelTable, tags: Tensor, tag: int) -> list[Made]:
    """Return the places of a kept channel that say what it puts out."""
    made = []
    for (name, dimension), held in table.tags.items():
        role = _role(table, name, dimension)
        if role in FILLED and bool((held == tag).any()):
            made.append(Made(name, dimension, positions_of(held, tags, tag), FILLED[role]))
    return made


def _role(table: ChannelTable, name: str, dimension: int) -> Role:
    """Return what a place is; the bias of a linear layer may be added apart, as any value."""
    path, _, attribute = name.rpartition(".")
    makes = table.roles.get((f"{path}.weight", 0)) == "filter"
    return "bias" if attribute == "bias" and makes else table.roles[name, dimension]


def emit_(smaller: nn.Module, makers: Sequence[Made], offset: float) -> None:
    """Let every layer that makes a channel put out the same, whatever it reads."""
    tensors = named_tensors(smaller)
    for made in makers:
        data = tensors[made.tensor].data
        data.index_fill_(made.dimension, made.positions.to(data.device), made.share * offset)


def positions_of(held: Tensor, tags: Tensor, tag: int) -> Tensor:
    """Return where a kept channel lies in a dimension that removed ones have left."""
    return (held[~torch.isin(held, tags)] == tag).nonzero().flatten()
