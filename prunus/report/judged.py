"""A model of a compress run, and what it was judged to be on a split."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from prunus.report.sources import Source
from prunus.report.values import Interval, Record, interval, number, record, records, text

T = TypeVar("T")


@dataclass(frozen=True)
class Judged:
    """A model on one split.

    Attributes:
        metrics: As `prunus val` reports them.
        run: The folder of that `prunus val`, where there is one.
    """

    metrics: Record
    run: Source | None

    @property
    def map50_95(self) -> float | None:
        return number(self.metrics.get("map50_95"))

    @property
    def map50(self) -> float | None:
        return number(self.metrics.get("map50"))

    @property
    def spread(self) -> Interval | None:
        """Return the bootstrap interval of mAP50-95."""
        return interval(self.told("bootstrap").get("map50_95"))

    @cached_property
    def classes(self) -> dict[str, float]:
        """Return mAP50-95 by class."""
        return _by_name(self.metrics.get("per_class"), number)

    @cached_property
    def class_spreads(self) -> dict[str, Interval]:
        """Return the interval of each class's mAP50-95."""
        return _by_name(self.told("bootstrap").get("per_class"), interval)

    def told(self, name: str) -> Record:
        """Return what the report of that `prunus val` says under a name; {} where it is not."""
        return {} if self.run is None else record(self.run.report.get(name))


@dataclass(frozen=True)
class Model:
    """One line of the table.

    Attributes:
        name: Short.
        role: What it is there for.
        step: What made it.
        facts: Everything that the report says of it.
        val: On the validation split.
        test: On the test split.
    """

    name: str
    role: str
    step: str
    facts: Record
    val: Judged
    test: Judged

    def figure(self, name: str) -> float | None:
        """Return params, gflops or file_mb."""
        return number(self.facts.get(name))

    @cached_property
    def latency_ms(self) -> dict[str, float]:
        """Return milliseconds by runtime and precision; those of INT8 stand where its twin's do."""
        known: dict[str, float] = {}
        for name, value in record(self.facts.get("latency_ms_by_runtime")).items():
            ms = number(value)
            if ms is not None and ms > 0:
                known.setdefault(float_twin(text(name)), ms)
        return known


def float_twin(runtime: str) -> str:
    """Return the column of a runtime: "onnx int8" is shown with "onnx fp32", which it replaces."""
    name, _, precision = runtime.partition(" ")
    words = precision.split()
    if "int8" not in words:
        return runtime
    return f"{name} {'fp32' if words == ['int8'] else words[-1]}"


def _by_name(rows: object, read: Callable[[object], T | None]) -> dict[str, T]:
    """Return mAP50-95 of rows that have a name and a value that can be read."""
    found = {text(row.get("name")): read(row.get("map50_95")) for row in records(rows)}
    return {name: value for name, value in found.items() if value is not None}
