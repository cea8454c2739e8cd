"""A finished run of `compress`, read: its models with their comparators, its stages."""

from dataclasses import dataclass
from functools import cached_property

from prunus.report.blocks import MissingError
from prunus.report.judged import Judged, Model, float_twin
from prunus.report.sources import Source
from prunus.report.values import Record, number, record, records, text, texts

LONGER, RESULT, PARENT = "longer", "result", "parent"
"""Roles: the dense model with as many extra epochs, the pruned one in float, the dense model."""
ROUND_OFF = 1e-9


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

    def lost_too_much(self, change: float) -> bool:
        """Return whether a change of mAP50-95, 0 to 1, is more of a loss than is allowed."""
        return self.max_drop is not None and -change * 100 > self.max_drop + ROUND_OFF

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

    def named_by_the_verdict(self, key: str) -> Model | None:
        """Return the model whose name stands at a key of the verdict."""
        name = text(self.verdict.get(key))
        return next((model for model in self.models if name and model.name == name), None)

    @property
    def fair(self) -> Model | None:
        """Return what pruning is judged against: the best dense model that the epochs made."""
        return self.named_by_the_verdict("fair") or self.of_role(LONGER, PARENT)

    @property
    def result(self) -> Model | None:
        """Return what is shipped, which may be the INT8 one."""
        return self.named_by_the_verdict("ships") or self.of_role(RESULT)

    @property
    def pair(self) -> tuple[Model, Model] | None:
        """Return the fair comparator and the result, where there are both."""
        fair, result = self.fair, self.result
        return None if fair is None or result is None else (fair, result)

    def needed_pair(self) -> tuple[Model, Model]:
        """Return the same.

        Raises:
            MissingError: One of them is not there.
        """
        if self.pair is None:
            raise MissingError("the report names no pair of dense and pruned models.")
        return self.pair

    @property
    def runtime(self) -> str:
        """Return the runtime of the target, as latencies are named; else the first one timed."""
        return next(iter(self.runtimes), self._wanted)

    @property
    def _wanted(self) -> str:
        words = (self.target.get("runtime"), self.target.get("precision"))
        return float_twin(" ".join(text(word) for word in words if word))

    @cached_property
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

    def of_verb(self, verb: str) -> list[Source]:
        """Return the stages of a verb that are there."""
        return [stage for _, stage in self.source.stages if stage and stage.verb == verb]

    @property
    def trials(self) -> list[Record]:
        """Return what the search for an amount tried, in order."""
        return records(self.source.report.get("trials"))

    @property
    def chosen_trial(self) -> Record | None:
        """Return the trial whose model is shipped."""
        return next((one for one in self.trials if one.get("chosen") is True), None)

    def prunings(self) -> list[Source]:
        """Return the stages that cut what is shipped, in order; else the last one that cut."""
        named = set(texts((self.chosen_trial or {}).get("stages")))
        meant = [
            stage
            for line, stage in self.source.stages
            if stage and stage.verb == "prune" and {stage.name, text(line.get("name"))} & named
        ]
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
