"""`LatencyTable`: what a layer costs at any widths, measured once per machine and runtime.

One table is of one precision: layers that gain much by bfloat16 are another cut than in float32.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from itertools import product
from pathlib import Path
from typing import Literal

from prunus.core.cache import cache_folder
from prunus.core.console import track
from prunus.core.errors import ExportError
from prunus.export.latency import cache as stored
from prunus.export.latency.lanes import (
    UNALIGNED,
    Lane,
    candidates,
    rounded_up,
    unaligned,
    vector_width,
)
from prunus.export.latency.prices import Prices, price
from prunus.export.latency.runtimes import Runtime, Widths, find_runtime
from prunus.export.latency.timing import quiet_ms
from prunus.export.latency.widths import efficient_widths
from prunus.model.layers import DEPTHWISE, LayerShape, SizedLayer

SWEEPS = 2
ROUNDS = 8
"""Each price is the quiet end of 16 times, 8 at a time: a burst of other load hits half of them."""
DIGITS = 6
"""Of a price: nanoseconds, as in the cache."""
FLOAT_BYTES = 4
BATCH_BYTES = 32_000_000
"""Weights and inputs in one timed graph: with more, its tensors push one another out of the cache
as a network's do not (8 -> 16 channels at 320x320: 0.90 ms among many, 0.66 alone, 0.73 in place).
"""

SAVING = 0.02
"""Prices of one layer measured twice differ by about this: less is no step."""

Side = Literal["inputs", "outputs"]


@dataclass(frozen=True)
class LatencyTable:
    """Prices of layers with their activations, of one runtime on one machine.

    Attributes:
        origin: Machine, runtime, version, precision and threads.
        created: When the oldest price was measured.
        runtime: How this runtime's cost goes.
        vector: Channels that it blocks together.
        shelves: Measured milliseconds by shape and lane.
    """

    origin: stored.Origin
    created: datetime
    runtime: Runtime
    vector: int
    shelves: Mapping[str, Mapping[str, Prices]]
    _known: dict[SizedLayer, float] = field(default_factory=dict, repr=False, compare=False)

    def ms(self, shape: LayerShape, inputs: int, outputs: int) -> float:
        """Return the milliseconds of a layer in one pass: all its calls, activation included.

        Counts between two steps of the runtime cost what the upper step costs; what is between two
        measured steps is interpolated. A layer without channels costs nothing.

        Raises:
            ExportError: The shape was not measured.
        """
        if min(inputs, outputs) <= 0:
            return 0.0
        layer = (shape, inputs, outputs)
        if layer not in self._known:
            self._known[layer] = shape.calls * self._once(*layer)
        return self._known[layer]

    def widths(
        self, shape: LayerShape, inputs: int, outputs: int, *, side: Side, saving: float = SAVING
    ) -> tuple[int, ...]:
        """Return the widths of one side, ascending, that no larger one is as cheap as.

        The other side stays as it is. Channels that several layers share are for
        `widths.efficient_widths`, with the sum of their costs.

        Args:
            shape: A measured one.
            inputs: Dense channels in.
            outputs: Dense channels out.
            side: Which of them changes.
            saving: See `efficient_widths`.
        """
        if side == "inputs":
            return efficient_widths(
                lambda width: self.ms(shape, width, outputs), inputs, saving=saving
            )
        return efficient_widths(lambda width: self.ms(shape, inputs, width), outputs, saving=saving)

    def describe(self, now: datetime | None = None) -> str:
        """Return runtime, precision, machine, size and age in one line."""
        count = sum(len(prices) for lanes in self.shelves.values() for prices in lanes.values())
        machine, threads = self.origin.machine, self.origin.threads
        return (
            f"{self.runtime.title} {self.origin.version} {self.origin.precision}, {threads} thread"
            f"{'' if threads == 1 else 's'}, {machine['processor']}, {machine['cores']} cores: "
            f"{count} prices, measured {_age((now or datetime.now(timezone.utc)) - self.created)}"
        )

    def _once(self, shape: LayerShape, inputs: int, outputs: int) -> float:
        lane = self.runtime.lane(shape, inputs, outputs, self.vector)
        prices = self.shelves.get(shape.label(), {}).get(lane.name)
        if not prices:
            raise ExportError(
                f"latency table: no prices for {shape.label()} at {inputs} -> {outputs} channels. "
                "Measure the network that it belongs to."
            )
        return price(prices, lane.inputs, lane.outputs)


def measure(
    shapes: Mapping[str, SizedLayer],
    runtime: str,
    *,
    threads: int = 1,
    precision: str = "fp32",
    cache: Path | None = None,
    runtimes: Mapping[str, Runtime] | None = None,
) -> LatencyTable:
    """Return the prices of these layers from narrow to their dense widths.

    What the cache knows is not measured again.

    Args:
        shapes: By any name: shape, dense channels in, dense channels out.
        runtime: A name in RUNTIMES.
        threads: That the runtime computes with.
        precision: That it computes in: fp32 or bf16.
        cache: Folder of the cache; None for this user's.
        runtimes: Another table than RUNTIMES.

    Raises:
        ExportError: Unknown runtime, one that is not installed, or that has not this precision.
        PrunusError: The cache cannot be written.
    """
    row = runtimes[runtime] if runtimes is not None else find_runtime(runtime)
    time_layers = row.in_precision(precision).time_layers
    folder = cache_folder() / "latency" if cache is None else cache
    origin = stored.Origin(runtime, row.version(), precision, threads, stored.this_machine())
    kept = stored.read(folder, origin)
    vector = vector_width()
    missing = _missing(_grids(shapes.values(), row, vector), kept.shelves)
    if missing:
        _fill(
            kept.shelves, missing, partial(time_layers, threads=threads, rounds=ROUNDS), row.title
        )
        stored.write(folder, origin, kept)
    return LatencyTable(origin, kept.created, row, vector, kept.shelves)


def _grids(
    layers: Iterable[SizedLayer], runtime: Runtime, vector: int
) -> dict[LayerShape, set[Lane]]:
    """Return the pairs to be priced, per shape, up to its largest widths."""
    most: dict[LayerShape, Widths] = {}
    for shape, inputs, outputs in layers:
        known = most.get(shape.once(), (0, 0))
        most[shape.once()] = (max(known[0], inputs), max(known[1], outputs))
    return {
        shape: _grid(shape, inputs, outputs, runtime, vector)
        for shape, (inputs, outputs) in most.items()
    }


def _grid(shape: LayerShape, inputs: int, outputs: int, runtime: Runtime, vector: int) -> set[Lane]:
    """Return where all pairs of candidates are priced, and a coarser grid of unaligned ones."""
    step = max(1, shape.groups)

    def lane(pair: Widths) -> Lane:
        wide_in, wide_out = (rounded_up(width, step) for width in pair)
        return runtime.lane(shape, wide_in, wide_out, vector)

    coarse_outputs = unaligned(outputs, vector) or candidates(outputs, vector)
    regular = product(candidates(inputs, vector), candidates(outputs, vector))
    odd = map(lane, product(unaligned(inputs, vector), coarse_outputs))
    return {lane(pair) for pair in regular} | {where for where in odd if where.name == UNALIGNED}


def _missing(
    grids: Mapping[LayerShape, set[Lane]], shelves: stored.Shelves
) -> dict[LayerShape, list[Lane]]:
    missing = {}
    for shape, lanes in grids.items():
        known = shelves.get(shape.label(), {})
        fresh = [lane for lane in sorted(lanes) if lane[1:] not in known.get(lane.name, {})]
        if fresh:
            missing[shape] = fresh
    return missing


def _fill(
    shelves: stored.Shelves,
    missing: Mapping[LayerShape, Sequence[Lane]],
    time_points: Callable[[LayerShape, Sequence[Widths]], list[list[float]]],
    title: str,
) -> None:
    """Time what is missing, all of it in each sweep, and put the quiet times on the shelves."""
    jobs = [
        (shape, batch)
        for _ in range(SWEEPS)
        for shape, lanes in missing.items()
        for batch in _batches(shape, lanes)
    ]
    times_ms: dict[tuple[LayerShape, Lane], list[float]] = {}
    for shape, batch in track(jobs, f"timing layers in {title}"):
        points = [_timed(shape, lane) for lane in batch]
        for lane, times in zip(batch, time_points(shape, points), strict=True):
            times_ms.setdefault((shape, lane), []).extend(times)
    for (shape, lane), times in times_ms.items():
        lanes = shelves.setdefault(shape.label(), {})
        lanes.setdefault(lane.name, {})[lane[1:]] = round(quiet_ms(times), DIGITS)


def _timed(shape: LayerShape, lane: Lane) -> Widths:
    """Return the widths to build; a depthwise layer has as many inputs as outputs."""
    inputs = lane.outputs if shape.groups == DEPTHWISE else lane.inputs
    return inputs, lane.outputs


def _batches(shape: LayerShape, lanes: Sequence[Lane]) -> list[list[Lane]]:
    """Return the lanes in runs whose weights and inputs fit into memory together."""
    kernel, positions = math.prod(shape.kernel), shape.batch * math.prod(shape.size_hw)
    batches: list[list[Lane]] = []
    room = 0
    for lane in lanes:
        size = FLOAT_BYTES * lane.inputs * (kernel * lane.outputs + positions)
        if size > room:
            batches.append([])
            room = BATCH_BYTES
        batches[-1].append(lane)
        room -= size
    return batches


def _age(age: timedelta) -> str:
    if age.days > 0:
        return f"{age.days} day{'' if age.days == 1 else 's'} ago"
    hours, minutes = age.seconds // 3600, age.seconds // 60
    return f"{hours} h ago" if hours else f"{minutes} min ago" if minutes else "just now"
