"""A finished run of `compress`, read: its models with their comparators, its stages."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from prunus.report.sources import Source
from prunus.report.values import Interval, Record, interval, number, record, records, text, texts

T = TypeVar("T")

LONGER, RESULT, PARENT = "longer", "result", "parent"
"""Roles: the dense model with as many extra epochs, what is shipped, the dense model."""


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
        return interval(self._bootstrap.get("map50_95"))

    @cached_property
    def classes(self) -> dict[str, float]:
        """Return mAP50-95 by class."""
        return _by_name(self.metrics.get("per_class"), number)

    @cached_property
    def class_spreads(self) -> dict[str, Interval]:
        """Return the interval of each class's mAP50-95."""
        return _by_name(self._bootstrap.get("per_class"), interval)

    @property
    def _bootstrap(self) -> Record:
        return {} if self.run is None else record(self.run.report.get("bootstrap"))


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

    @property
    def latency_ms(self) -> dict[str, float]:
        """Return milliseconds by runtime and precision; those of INT8 stand where its twin's do."""
        known: dict[str, float] = {}
        for name, value in record(self.facts.get("latency_ms_by_runtime")).items():
            ms = number(value)
            if ms is not None and ms > 0:
                known.setdefault(float_twin(text(name)), ms)
        return known


@dataclass(frozen=True)
class Compressed:
    """The run."""

    source: Source

    @property
    def target(self) -> Record:
        return record(self.source.report.get("target"))

    @property
    def verdict(self) -> Record:
        return record(self.source.report.get("verdict"))

    @property
    def max_drop(self) -> float | None:
        """Return the points of mAP50-95 that may be lost."""
        return number(self.target.get("max_drop"))

    @cached_property
    def models(self) -> list[Model]:
        """Return the models, in the order of the table."""
        return [self._model(facts) for facts in records(self.source.report.get("models"))]

    def of_role(self, *roles: str) -> Model | None:
        """Return the first model that has the first of these roles that any has."""
        for role in roles:
            for model in self.models:
                if model.role == role:
                    return model
        return None

    @property
    def fair(self) -> Model | None:
        """Return what pruning is judged against: the dense model trained as long, or else dense."""
        return self.of_role(LONGER, PARENT)

    @property
    def result(self) -> Model | None:
        return self.of_role(RESULT)

    @property
    def runtime(self) -> str:
        """Return the runtime of the target, as latencies are named; else the first one timed."""
        return next(iter(self.runtimes), self._wanted)

    @property
    def _wanted(self) -> str:
        words = (self.target.get("runtime"), self.target.get("precision"))
        return float_twin(" ".join(text(word) for word in words if word))

    @property
    def runtimes(self) -> list[str]:
        """Return all runtimes in which any model was timed, the target's first."""
        names = dict.fromkeys(name for model in self.models for name in model.latency_ms)
        return sorted(names, key=lambda name: name != self._wanted)

    def speedup(self, model: Model, runtime: str) -> float | None:
        """Return how many times as fast as the dense model another one is.

        The dense parent counts, as in the verdict; where it was not timed the fair comparator,
        which has the same layers.
        """
        own = model.latency_ms.get(runtime)
        for other in (self.of_role(PARENT), self.fair):
            reference = None if other is None else other.latency_ms.get(runtime)
            if own is not None and reference is not None:
                return reference / own
        return None

    def change(self, model: Model, split: str) -> float | None:
        """Return mAP50-95 more than the fair comparator's, on "val" or "test"."""
        fair = self.fair
        if fair is None:
            return None
        own, other = (getattr(one, split).map50_95 for one in (model, fair))
        return None if own is None or other is None else own - other

    @cached_property
    def stages(self) -> list[tuple[Record, Source | None]]:
        """Return each stage's line and its folder."""
        lines = records(self.source.report.get("stages"))
        return [(line, self.source.inner(line.get("folder"))) for line in lines]

    def of_verb(self, verb: str) -> list[Source]:
        """Return the stages of a verb that are there."""
        return [stage for _, stage in self.stages if stage is not None and stage.verb == verb]

    @property
    def accepted_trial(self) -> Record | None:
        """Return the trial whose model is shipped: the last one that was accepted."""
        trials = records(self.source.report.get("trials"))
        return next((trial for trial in reversed(trials) if trial.get("accepted") is True), None)

    def prunings(self) -> list[Source]:
        """Return the stages that cut what is shipped, in order; else the last one that cut."""
        named = set(texts((self.accepted_trial or {}).get("stages")))
        cuts = [(line, stage) for line, stage in self.stages if stage and stage.verb == "prune"]
        meant = [s for line, s in cuts if s and {s.name, text(line.get("name"))} & named]
        return meant or self.of_verb("prune")[-1:]

    def _model(self, facts: Record) -> Model:
        runs = record(facts.get("val_runs"))
        return Model(
            text(facts.get("name")) or "(no name)",
            text(facts.get("role")),
            text(facts.get("step")),
            facts,
            self._judged(facts.get("metrics"), runs.get("val")),
            self._judged(facts.get("test_metrics"), runs.get("test")),
        )

    def _judged(self, metrics: object, folder: object) -> Judged:
        run = self.source.inner(folder)
        return Judged(record(metrics) or ({} if run is None else run.metrics), run)


def compared(run: Compressed) -> tuple[Model, Model] | None:
    """Return the fair comparator and the result, where there are both."""
    fair, result = run.fair, run.result
    return None if fair is None or result is None else (fair, result)


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
