"""How many inputs and outputs each layer keeps, by the widths of the groups."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from prunus.model.channels.table import ChannelTable, Place
from prunus.model.channels.ties import CONSTANT
from prunus.model.layers import DEPTHWISE, LayerShape


@dataclass(frozen=True)
class Count:
    """How many positions of one dimension are kept.

    Attributes:
        fixed: Those that belong to no group.
        each: Positions that go with one channel, by group; an average where channels differ.
    """

    fixed: float
    each: Mapping[str, float] = field(default_factory=dict)

    def times(self, factor: int) -> "Count":
        """Return so many times as many."""
        return Count(self.fixed * factor, {name: factor * of for name, of in self.each.items()})

    def at(self, kept: Mapping[str, int]) -> float:
        """Return the count for these widths."""
        return self.fixed + sum(each * kept[name] for name, each in self.each.items())


@dataclass(frozen=True)
class Term:
    """One layer of the sum: its key, and how many inputs and outputs it keeps."""

    key: str
    inputs: Count
    outputs: Count


def count_positions(table: ChannelTable) -> dict[Place, Count]:
    """Return how many positions of each traced dimension stay, by the widths of the free groups."""
    fixed = {place: len(tags) for place, tags in table.tags.items()}
    each: dict[Place, dict[str, float]] = defaultdict(dict)
    for group in table.free_groups:
        for slot in group.slots:
            place, own = (slot.tensor, slot.dimension), int((slot.channel_of != CONSTANT).sum())
            fixed[place] = fixed.get(place, len(slot.channel_of)) - own
            each[place][group.name] = own / len(group)
    return {place: Count(count, each[place]) for place, count in fixed.items()}


def layer_term(
    key: str, shape: LayerShape, inputs: int, outputs: int, counts: Mapping[Place, Count]
) -> Term:
    """Return a layer's term; what was not traced keeps its width."""
    weight = key.partition("@")[0]
    rows, columns = counts.get((weight, 0)), counts.get((weight, 1))
    if shape.groups == DEPTHWISE:
        rows = rows or Count(outputs)
        return Term(key, rows, rows)
    if shape.kind == "transposed":
        across = columns.times(shape.groups) if columns else Count(outputs)
        return Term(key, rows or Count(inputs), across)
    across = columns.times(shape.groups) if columns else Count(inputs)
    return Term(key, across, rows or Count(outputs))
