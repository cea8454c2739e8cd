"""Milliseconds of a detector in a runtime: priced layer by layer, predicted, and measured."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from prunus.core.console import log
from prunus.core.records import Runner
from prunus.export.backends import BACKENDS
from prunus.export.benchmark import torch_threads
from prunus.export.form import Form
from prunus.export.latency.predict import Layers, correction
from prunus.export.latency.table import measure
from prunus.export.latency.timing import time_in_turn
from prunus.export.latency.widths import efficient_widths
from prunus.model.channels.table import ChannelTable
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.layers import sized_layers
from prunus.model.runner import TorchRunner
from prunus.prune.costs import Costs
from prunus.prune.run import Pricing

ROUNDS = 20
SAVING = 0.02
"""A width is worth choosing if it saves this share of what its group costs; less is noise."""


class RuntimeLatency:
    """What a detector costs in one runtime on this machine.

    Attributes:
        dense_ms: Measured, of the detector as it is.
    """

    def __init__(
        self, detector: Detector, runtime: str, side: int, threads: int, precision: str = "fp32"
    ) -> None:
        """Measure the detector and the prices of its layers (cached from run to run).

        Raises:
            ExportError: The runtime is not installed, or does not compute in this precision.
        """
        self._runtime, self._side, self._threads = runtime, side, threads
        self._precision = precision
        self._layers = self._layers_of(detector)
        self._table = measure(self._layers, runtime, threads=threads, precision=precision)
        log.info("latency table: %s", self._table.describe())
        self.dense_ms = self.measure({"dense": detector})["dense"]
        self._line = correction(self._table, [(self._layers, self.dense_ms)])

    def pricing(self, detector: Detector, *, efficient: bool) -> Pricing:
        """Return the prices of a detector, and with `efficient` the widths at which the runtime is.

        Args:
            detector: The one that was measured, or that without some of its blocks.
            efficient: Whether only such widths may be chosen.
        """

        def costs(table: ChannelTable) -> Costs:
            return self.costs(detector, table)

        return Pricing(
            costs, (lambda table: _efficient(costs(table), table)) if efficient else None
        )

    def costs(self, detector: Detector, table: ChannelTable) -> Costs:
        """Return what the widths of a detector cost, in milliseconds of the whole network."""
        layers = self._layers_of(detector)

        def price(key: str, inputs: int, outputs: int) -> float:
            return self._line.factor * self._table.ms(layers[key][0], inputs, outputs)

        return Costs(layers, table, price, self._line.rest_ms)

    def cost_of(self, path: str) -> float:
        """Return the milliseconds that the layers of a module cost."""
        return sum(
            self._line.factor * self._table.ms(*layer)
            for name, layer in self._layers.items()
            if name.startswith(f"{path}.")
        )

    def measure(self, detectors: Mapping[str, Detector]) -> dict[str, float]:
        """Return milliseconds of each, measured in turn, in this runtime and precision."""
        shape = (1, 3, self._side, self._side)
        image = torch.randint(0, 256, shape, dtype=torch.uint8)
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            stack.enter_context(torch_threads(self._threads))
            calls: dict[str, Callable[[], object]] = {}
            for name, detector in detectors.items():
                runner = self._open(detector, folder / name)
                calls[name] = _calling(runner, image)
            return time_in_turn(calls, threads=self._threads, rounds=ROUNDS)

    def _layers_of(self, detector: Detector) -> Layers:
        return sized_layers(detector, torch.empty(1, 3, self._side, self._side, device="meta"))

    def _open(self, detector: Detector, path: Path) -> Runner:
        backend = BACKENDS[self._runtime]
        if backend.write is None:
            return TorchRunner(fuse(detector), torch.device("cpu"), self._precision)
        file = path.with_suffix(backend.suffix)
        backend.write(detector, file, Form((self._side, self._side)))
        return backend.open(file, device="cpu", precision=self._precision, threads=self._threads)


def _efficient(costs: Costs, table: ChannelTable) -> dict[str, tuple[int, ...]]:
    """Return, by group name, the widths that are worth choosing."""

    def cost(name: str, width: int) -> float:
        return costs.total({name: width}) - costs.total({name: 0})

    return {
        group.name: efficient_widths(partial(cost, group.name), len(group), saving=SAVING)
        for group in table.free_groups
    }


def _calling(runner: Runner, image: torch.Tensor) -> Callable[[], object]:
    return lambda: runner(image)
