"""`Work`: the stages that every part of a compress run shares: train, judge, time."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from prunus.core.console import log
from prunus.core.errors import ExportError
from prunus.pipeline.chain.chain import Chain
from prunus.pipeline.chain.stage import FOLDER, Done
from prunus.pipeline.compress.config import CompressConfig
from prunus.pipeline.compress.effort import Schedule
from prunus.pipeline.compress.target import Costs, Target
from prunus.pipeline.models import model_facts
from prunus.weights.files import load_weights

SECONDS_PER_HOUR = 3600
POINTS = 100


@dataclass(frozen=True)
class Model:
    """A weights file that has been judged on the validation split.

    Attributes:
        name: In names of stages and files.
        role: What it is in the comparison; the report lists the roles.
        step: How the table calls it.
        file: The weights as a later stage's settings name them.
        path: Where they lie.
        val: Its judgement.
    """

    name: str
    role: str
    step: str
    file: str
    path: Path
    val: Done

    @property
    def metrics(self) -> Mapping[str, Any]:
        metrics: Mapping[str, Any] = self.val.report["metrics"]
        return metrics

    @property
    def map50_95(self) -> float:
        return float(self.metrics["map50_95"])

    @cached_property
    def size(self) -> Mapping[str, Any]:
        """Return `params` and `gflops`."""
        return model_facts(load_weights(self.path).detector)


def points_lost(before: float, after: float) -> float:
    """Return how much lower an mAP is, in points."""
    return POINTS * (before - after)


class Work:
    """A run's settings, its chain, and what has been spent and decided.

    Attributes:
        options: Further steps, whether each was taken, and why.
        not_done: What the report must say that it does not show.
    """

    def __init__(
        self, settings: CompressConfig, schedule: Schedule, target: Target, chain: Chain
    ) -> None:
        self.settings, self.schedule, self.target, self.chain = settings, schedule, target, chain
        self.options: list[dict[str, Any]] = []
        self.not_done: list[str] = []

    def decide(self, option: str, *, accepted: bool, why: str) -> None:
        """Record whether a further step is taken."""
        log.info("%s: %s: %s", option, "accepted" if accepted else "rejected", why)
        self.options.append({"option": option, "accepted": accepted, "why": why})

    def train(self, name: str, epochs: int, **values: Any) -> Done:
        """Train with the recipe that all trainings of the run share."""
        settings = self.settings
        return self.chain.do(
            name,
            "train",
            epochs=epochs,
            batch_size=settings.batch_size,
            nominal_batch=settings.nominal_batch,
            hyp=settings.hyp,
            patience=settings.patience,
            close_mosaic=round(epochs * settings.close_mosaic),
            precision=settings.precision,
            workers=settings.workers,
            seed=settings.seed,
            **values,
        )

    def judge(
        self, name: str, weights: str, split: str = "val", beside: Done | None = None
    ) -> Done:
        """Judge a file in float32, with intervals; and against another judgement, if given."""
        return self.chain.do(
            f"{split}-{name}",
            "val",
            weights=[weights],
            split=split,
            bootstrap=self.settings.bootstrap,
            compare=None if beside is None else beside.file(FOLDER),
            plots=False,
            precision="fp32",
        )

    def model(self, name: str, role: str, step: str, made: Done, place: str = "best") -> Model:
        """Judge a weights file that a stage made."""
        file = made.file(place)
        return Model(name, role, step, file, made.path(place), self.judge(name, file))

    def costs(self, name: str, *weights: str) -> list[Costs]:
        """Time weights files in the target's runtime, in one interleaved run."""
        target = self.target
        done = self.chain.do(
            name,
            "benchmark",
            weights=list(weights),
            runtimes=[target.runtime],
            precisions=[target.precision],
            threads=target.threads,
            repeats=self.settings.repeats,
        )
        rows = done.report["rows"]
        if len(rows) != len(weights):
            raise ExportError(
                f"{target.runtime} {target.precision}: runs only {len(rows)} of {len(weights)} "
                f"models; see {done.folder}."
            )
        return [_costs(row) for row in rows]

    def affordable(self, epochs: int, owed: int = 0) -> bool:
        """Return whether so many epochs fit `--epochs` and `--hours`.

        Args:
            epochs: Of what is to be trained now.
            owed: Of what has to be trained afterwards.
        """
        trainings = [d.report for d in self.chain.done.values() if d.stage.verb == "train"]
        spent = sum(int(report["epochs"]) for report in trainings)
        limit = self.schedule.limit
        if limit is not None and spent + epochs + owed > limit:
            return False
        if self.settings.hours is None:
            return True
        seconds = sum(float(done.report["seconds"]) for done in self.chain.done.values())
        each = sum(float(report["training_seconds"]) for report in trainings) / max(spent, 1)
        return seconds + (epochs + owed) * each <= self.settings.hours * SECONDS_PER_HOUR


def _costs(row: Mapping[str, Any]) -> Costs:
    facts = model_facts(load_weights(Path(row["model"])).detector)
    return Costs(float(row["latency_ms"]), float(row["file_mb"]), facts["params"], facts["gflops"])
