"""What a network costs (operations, parameters, milliseconds), by the widths of its groups.

The cost is a sum over layers; a layer's price depends on how many of its inputs and outputs are
kept, and each of these counts is a sum over groups. A change of one group is priced by looking at
the layers that it touches.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from prunus.model.channels.probe import Inputs
from prunus.model.channels.table import ChannelTable, Place
from prunus.model.layers import DEPTHWISE, LayerShape, SizedLayer, sized_layers
from prunus.prune.counts import Count, Term, count_positions, layer_term

Price = Callable[[str, int, int], float]
"""(layer's key in `sized_layers`, inputs kept, outputs kept) -> cost."""


@dataclass(frozen=True)
class Rates:
    """A price in proportion to inputs times outputs; priced for many widths at once.

    Attributes:
        rates: Cost of one input with one output, by layer.
        alone: Depthwise layers: in proportion to their outputs only.
    """

    rates: Mapping[str, float]
    alone: frozenset[str] = frozenset()

    def __call__(self, layer: str, inputs: int, outputs: int) -> float:
        return self.rates[layer] * (outputs if layer in self.alone else inputs * outputs)

    def row(
        self, layer: str, inputs: NDArray[np.float64], outputs: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return (n,) the costs of (n,) inputs with (n,) outputs."""
        return self.rates[layer] * (outputs if layer in self.alone else inputs * outputs)


class Costs:
    """What a network costs, by the widths of its groups.

    Exact where every channel of a group has as many positions in a tensor as the others, which is
    so unless a network joins a part of its channels twice.
    """

    def __init__(
        self,
        layers: Mapping[str, SizedLayer],
        table: ChannelTable,
        price: Price,
        rest: float = 0.0,
        *,
        terms: Iterable[Term] = (),
    ) -> None:
        """Keep what is needed to price any widths.

        Args:
            layers: As `sized_layers` returns them.
            table: The same network's channels.
            price: Of one layer.
            rest: What does not depend on any width.
            terms: Further ones, such as parameters that are no layer's.
        """
        self.rest = rest
        self.sizes = {group.name: len(group) for group in table.groups}
        self._price = price
        counts = count_positions(table)
        self._terms = [*(layer_term(key, *row, counts) for key, row in layers.items()), *terms]
        self._touched: dict[str, list[Term]] = defaultdict(list)
        for term in self._terms:
            for name in term.inputs.each.keys() | term.outputs.each.keys():
                self._touched[name].append(term)
        self._known: dict[str, dict[tuple[int, int], float]] = defaultdict(dict)

    def total(self, kept: Mapping[str, int]) -> float:
        """Return what the network costs.

        Args:
            kept: Channels kept by group name; groups that are missing keep all.
        """
        widths = {**self.sizes, **kept}
        return self.rest + sum(
            self._priced(term.key, (round(term.inputs.at(widths)), round(term.outputs.at(widths))))
            for term in self._terms
        )

    def curve(
        self, name: str, widths: Sequence[int], kept: Mapping[str, int]
    ) -> NDArray[np.float64]:
        """Return (len(widths),) what the layers that a group touches cost, by the group's width.

        Args:
            name: The group.
            widths: Its widths to price.
            kept: The widths of all other groups; those that are missing keep all.
        """
        others = {**self.sizes, **kept, name: 0}
        own = np.asarray(widths, dtype=np.float64)
        total = np.zeros(len(own))
        for term in self._touched.get(name, ()):
            inputs = np.rint(term.inputs.at(others) + term.inputs.each.get(name, 0.0) * own)
            outputs = np.rint(term.outputs.at(others) + term.outputs.each.get(name, 0.0) * own)
            total += self._row(term.key, inputs, outputs)
        return total

    def neighbours(self, name: str) -> set[str]:
        """Return the groups that share a layer with this one: those whose curves it changes."""
        terms = self._touched.get(name, ())
        found = {other for term in terms for other in (*term.inputs.each, *term.outputs.each)}
        return found - {name}

    def _row(
        self, key: str, inputs: NDArray[np.float64], outputs: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        if isinstance(self._price, Rates):
            return self._price.row(key, inputs, outputs)
        known = self._known[key]
        pairs = list(zip(inputs.astype(int).tolist(), outputs.astype(int).tolist(), strict=True))
        return np.array(
            [known[pair] if pair in known else self._priced(key, pair) for pair in pairs]
        )

    def _priced(self, key: str, pair: tuple[int, int]) -> float:
        known = self._known[key]
        if pair not in known:
            known[pair] = float(self._price(key, *pair))
        return known[pair]


@dataclass(frozen=True)
class Pricing:
    """Milliseconds, as a runtime was measured: what a latency budget needs.

    Attributes:
        costs: Channels of the network -> what its widths cost.
        widths: The same -> by group name, the widths at which the runtime is efficient.
    """

    costs: Callable[[ChannelTable], Costs]
    widths: Callable[[ChannelTable], Mapping[str, Sequence[int]]] | None = None


def flops_costs(model: nn.Module, table: ChannelTable, inputs: Inputs) -> Costs:
    """Return what a network's widths cost in operations, on inputs of which shapes matter only."""
    layers = sized_layers(model, inputs)
    return Costs(layers, table, flops_price(layers))


def flops_price(layers: Mapping[str, SizedLayer]) -> Rates:
    """Return the operations of one pass: two per multiply-accumulate, as `count_flops` has it.

    Args:
        layers: As `sized_layers` returns them, at the input size that is meant.
    """
    shapes = {key: shape for key, (shape, _, _) in layers.items()}
    alone = frozenset(key for key, shape in shapes.items() if shape.groups == DEPTHWISE)
    return Rates({key: _operations(shape) for key, shape in shapes.items()}, alone)


def params_costs(model: nn.Module, table: ChannelTable) -> Costs:
    """Return the cost in parameters: all of them, biases and normalisations included.

    Args:
        model: The network that `table` was traced from.
        table: Its channels.
    """
    places: dict[str, list[Place]] = defaultdict(list)
    counts = count_positions(table)
    for place, count in counts.items():
        if count.each:
            places[place[0]].append(place)
    names: dict[int, list[str]] = defaultdict(list)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)  # a shared one counts once, whatever it is called
    terms, rates, rest = [], {}, 0.0
    for name, parameter in model.named_parameters():
        cut = [place for alias in names[id(parameter)] for place in places[alias]]
        if not cut or not parameter.numel():
            rest += parameter.numel()
            continue
        first, second = counts[cut[0]], counts[cut[1]] if len(cut) > 1 else Count(1)
        rates[name] = parameter.numel() / math.prod(parameter.shape[place[1]] for place in cut[:2])
        terms.append(Term(name, second, first))
    return Costs({}, table, Rates(rates), rest, terms=terms)


def _operations(shape: LayerShape) -> float:
    """Return the operations for one input and one output, all calls and positions."""
    positions = math.prod(shape.size_hw)
    if shape.kind == "conv":
        axes = zip(
            shape.size_hw, shape.kernel, shape.stride, shape.padding, shape.dilation, strict=True
        )
        positions = math.prod((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)
    once = 2 * math.prod(shape.kernel) * positions * shape.batch
    return shape.calls * once / max(1, shape.groups)
