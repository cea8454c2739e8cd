"""From the prices of layers to the time of a whole network.

A network takes longer than its layers one by one: joins, pooling, decoding and reorders come on
top, and the layers themselves run in colder caches. One part stays when the layers shrink, another
shrinks with them, so the prediction is a line: factor x layers + rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prunus.core.errors import ExportError
from prunus.export.latency.table import LatencyTable
from prunus.model.layers import SizedLayer

Layers = Mapping[str, SizedLayer]
LEAST_SPREAD = 0.1
"""Networks whose layers differ by less than this share say nothing about the slope."""


@dataclass(frozen=True)
class Correction:
    """How a whole network's time follows from its layers'.

    Attributes:
        factor: What a layer costs in a network over what it costs alone.
        rest_ms: What does not depend on the layers' widths.
    """

    factor: float
    rest_ms: float


def layers_ms(table: LatencyTable, layers: Layers) -> float:
    """Return the milliseconds of the layers alone.

    Raises:
        ExportError: A layer's shape was not measured.
    """
    return sum(table.ms(*layer) for layer in layers.values())


def correction(table: LatencyTable, measured: Sequence[tuple[Layers, float]]) -> Correction:
    """Return the line through whole networks that were measured in the table's runtime.

    Args:
        table: Of the same runtime, precision, machine and threads.
        measured: Networks with their milliseconds; the first one is the dense one. That one alone
            will do: the runtime's usual share of what its layers do not explain is then taken to
            shrink with them. A second, narrower one makes the line this network's own.

    Raises:
        ExportError: Nothing was measured, or a layer's shape is not in the table.
    """
    if not measured:
        raise ExportError("latency table: the dense network's own time is needed. Measure it.")
    alone = np.array([layers_ms(table, layers) for layers, _ in measured])
    whole = np.array([ms for _, ms in measured])
    if np.ptp(alone) > LEAST_SPREAD * alone[0]:
        factor, rest = np.polyfit(alone, whole, 1)
        if factor > 0 and rest >= 0:
            return Correction(float(factor), float(rest))
    beyond = max(0.0, float(whole[0] - alone[0]))
    share = table.runtime.precisions[table.origin.precision].share_in_layers
    rest_ms = (1 - share) * beyond
    return Correction(float((whole[0] - rest_ms) / alone[0]), rest_ms)


def predict(table: LatencyTable, layers: Layers, correction: Correction) -> float:
    """Return the milliseconds of a network with these widths.

    Raises:
        ExportError: A layer's shape was not measured.
    """
    return correction.factor * layers_ms(table, layers) + correction.rest_ms
