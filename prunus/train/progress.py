"""What is known about a run besides its weights: where it began, how far it came, what it made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prunus.core.runs import finite
from prunus.train.logs import Row
from prunus.train.validate import Validation
from prunus.weights.history import Step, step_from_mapping
from prunus.weights.native import UNSTATED


@dataclass
class Progress:
    """What is known about a run so far; JSON-ready.

    Attributes:
        rows: One row of results.csv for each finished epoch.
        best_fitness: The highest so far; -1 before the first validation.
        best_epoch: When that was, counted from 0; -1 before the first validation.
        best_metrics: What validation said then.
        class_scores: mAP50-95 of each class, by index, at the latest validation.
        seconds: Time spent, over all sessions.
    """

    rows: list[Row] = field(default_factory=list)
    best_fitness: float = -1.0
    best_epoch: int = -1
    best_metrics: dict[str, Any] = field(default_factory=dict)
    class_scores: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def judge(self, judged: Validation, epoch: int, *, counts: bool) -> bool:
        """Take note of a validation; return whether the epoch is the best so far.

        Args:
            judged: What validation said.
            epoch: Counted from 0.
            counts: Whether the weights may be the best ones.
        """
        found = {row.name: row.map50_95 for row in judged.evaluation.per_class}
        self.class_scores = [found.get(name, 0.0) for name in judged.evaluation.names]
        if not counts or judged.fitness <= self.best_fitness:
            return False
        self.best_fitness, self.best_epoch = judged.fitness, epoch
        metrics = finite(judged.evaluation.metrics())
        self.best_metrics = dict(metrics) if isinstance(metrics, dict) else {}
        return True


@dataclass(frozen=True)
class TrainResult:
    """What a training made.

    Attributes:
        best: Averaged weights of the best epoch.
        last: Averaged weights of the last epoch.
        best_epoch: Counted from 0.
        metrics: `Evaluation.metrics()` of the best epoch.
        epochs: One row of results.csv for each epoch.
        seconds: Time spent.
    """

    best: Path
    last: Path
    best_epoch: int
    metrics: Mapping[str, Any]
    epochs: tuple[Row, ...]
    seconds: float


@dataclass(frozen=True)
class Origin:
    """What a training starts from, besides the detector itself.

    Attributes:
        history: The steps that were taken before.
        licence: The weights' licence, as their file states it.
        parent: SHA-256 of that file.
        teacher: SHA-256 of the teacher's file, "" without a teacher.
        state: What `checkpoint.read_state` returned, to go on with that training; else None.
    """

    history: tuple[Step, ...] = ()
    licence: str = UNSTATED
    parent: str = ""
    teacher: str = ""
    state: Mapping[str, Any] | None = None

    def plain(self) -> dict[str, object]:
        """Return JSON-ready values for the state."""
        history = [step.to_mapping() for step in self.history]
        return {
            "history": history,
            "licence": self.licence,
            "parent": self.parent,
            "teacher": self.teacher,
        }


def origin_of(state: Mapping[str, Any]) -> Origin:
    """Return the origin that `Origin.plain` wrote into a state."""
    saved = state["origin"]
    history = tuple(step_from_mapping(step) for step in saved["history"])
    return Origin(history, saved["licence"], saved["parent"], saved["teacher"], state)
