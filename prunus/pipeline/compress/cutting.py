"""One attempt: cut toward a factor, in rounds, each measured, repaired and fine-tuned."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prunus.core.console import log
from prunus.core.errors import PruningError
from prunus.pipeline.chain.stage import FOLDER, Done
from prunus.pipeline.compress.search import NEAR_MISS, Trial
from prunus.pipeline.compress.target import CLOSE_ENOUGH
from prunus.pipeline.compress.work import Model, Work, points_lost

MOST_CUTS = 3
"""Cuts for one factor: predictions are right within a tenth, so the second one mostly fits."""
LEAST_CUT = 1.02
AIM = 1.03
"""A cut aims so much further where milliseconds decide: the last benchmark measures them anew."""
MOST = 1.1
"""A cut that goes further than asked by more than this is made again: it would lose for nothing."""
SAVED = "epoch{}.safetensors"


@dataclass(frozen=True)
class Subject:
    """What is cut, and what it is judged against.

    Attributes:
        dense: The adapted model.
        fair: The one that the drop is counted from: the best dense one that the same epochs make.
        options: Verbs that change a cut before its fine-tune, each with its settings; they were
            seen to make the runtime faster.
        gain: How many times as fast they make the dense model.
    """

    dense: Model
    fair: Model | None
    options: tuple[tuple[str, dict[str, Any]], ...] = ()
    gain: float = 1.0

    @property
    def teacher(self) -> Model:
        """Return the best dense model, which the fine-tune imitates."""
        return self.fair or self.dense


@dataclass(frozen=True)
class _Cut:
    """A model with fewer channels, not yet trained.

    Attributes:
        made: Its stage.
        factor: How far it has come from the dense model.
        stages: Names of those that made it.
        plan: What went, for rewinding; None where the options were enough.
    """

    made: Done
    factor: float
    stages: tuple[str, ...]
    plan: str | None


class Cutter:
    """Makes attempts."""

    def __init__(self, work: Work, subject: Subject, adapted: Done | None) -> None:
        self._work, self._subject, self._adapted = work, subject, adapted

    def attempt(self, factor: float, number: int, rounds: int) -> Trial:
        """Cut to a factor, train and judge; a cut that cannot be made is a trial without result."""
        work = self._work
        steps = "" if rounds == 1 else f" in {rounds} rounds"
        log.info("\n== attempt %d: %s%s", number, work.target.describe(factor), steps)
        try:
            made, achieved, stages = self._in_rounds(factor, number, rounds)
        except PruningError as error:
            log.warning("attempt %d: %s", number, error)
            return Trial(factor, 1.0, None, None, accepted=False, why=str(error))
        fair = self._subject.fair
        beside = None if fair is None else fair.val
        judged = work.judge(f"pruned-{number}", made.file(made.main), beside=beside)
        found = float(judged.report["metrics"]["map50_95"])
        drop = None if fair is None else points_lost(fair.map50_95, found)
        excess = work.target.excess(drop)
        return Trial(
            asked=factor,
            achieved=achieved,
            map50_95=found,
            drop=drop,
            accepted=excess == 0,
            rounds=rounds,
            is_near_miss=0 < excess <= NEAR_MISS,
            stages=stages,
            made=made.stage.name,
            judged=judged.stage.name,
        )

    def _in_rounds(
        self, factor: float, number: int, rounds: int
    ) -> tuple[Done, float, tuple[str, ...]]:
        """Return the weights, how far they have come, and the stages that led there."""
        schedule, start, achieved = self._work.schedule, self._subject.dense.file, 1.0
        stages: list[str] = []
        plans: list[str] = []
        for part in range(1, rounds + 1):
            name = str(number) if rounds == 1 else f"{number}-{part}"
            if epochs := _part(schedule.sparsity, part, rounds):
                sparse = self._sparse(start, name, epochs, first=part == 1)
                start = sparse.file("last")
                stages.append(sparse.stage.name)
            cut = self._cut(start, factor ** (part / rounds), achieved, name, plans)
            stages += cut.stages
            plans += [] if cut.plan is None else [cut.plan]
            made, achieved = cut.made, cut.factor
            if epochs := _part(schedule.finetune, part, rounds):
                made = self._finetune(cut.made, name, epochs)
                stages.append(made.stage.name)
            start = made.file(made.main)
        return made, achieved, tuple(stages)

    def _sparse(self, start: str, name: str, epochs: int, *, first: bool) -> Done:
        """Pull gammas to zero. The last epoch counts: the best one is usually early, so dense."""
        chain, pull = self._work.chain, self._work.settings.sparsity
        if first:
            whole = epochs == self._work.schedule.sparsity
            name = "sparsity" if whole else f"sparsity-{epochs}-epochs"
        else:
            name = f"sparsity-{name}"
        if name in chain.done:  # of an earlier attempt, which began with the same model
            return chain.done[name]
        return self._work.train(name, epochs, weights=start, sparsity=pull)

    def _cut(
        self, start: str, goal: float, achieved: float, name: str, plans: Sequence[str]
    ) -> _Cut:
        """Cut until the measured factor over the dense model is the goal; return the nearest."""
        target = self._work.target
        gain = self._subject.gain if achieved == 1 else 1.0
        aim = goal * (AIM if target.is_time else 1.0)
        asked = aim / (achieved * gain)
        cuts: list[_Cut] = []
        for number in range(1, MOST_CUTS + 1):
            stage = name if number == 1 else f"{name}-again{number - 1}"
            before = set(self._work.chain.done)
            cut = self._prune(start, asked, stage) if asked > LEAST_CUT else None
            plan = None if cut is None else cut.file("plan")
            made = self._changed(start, cut, stage, [*plans, *([plan] if plan else [])], achieved)
            stages = tuple(key for key in self._work.chain.done if key not in before)
            dense, costs = self._work.costs(
                f"time-{stage}", self._subject.dense.file, made.file("weights")
            )
            reached = target.measured(dense, costs)
            cuts.append(_Cut(made, goal if reached is None else reached, stages, plan))
            if reached is None or goal * CLOSE_ENOUGH <= reached <= goal * MOST:
                break
            log.info("%s: %.3f asked, %.3f measured", stage, goal, reached)
            asked *= aim / reached
        return min(cuts, key=lambda cut: _miss(cut.factor / goal))

    def _prune(self, start: str, asked: float, name: str) -> Done:
        settings = self._work.settings
        return self._work.chain.do(
            f"prune-{name}",
            "prune",
            weights=start,
            criterion=settings.criterion,
            scope=settings.scope,
            round_to=settings.round_to,
            repair=settings.repair,
            seed=settings.seed,
            latency=False,
            **self._work.target.budget(asked),
        )

    def _changed(
        self, start: str, cut: Done | None, name: str, plans: Sequence[str], achieved: float
    ) -> Done:
        """Rewind a cut, and apply the options, unless an earlier round has."""
        work, rewinds = self._work, self._work.settings.rewind is not None
        made = self._rewound(name, plans) if cut is not None and rewinds else cut
        for verb, values in self._subject.options if achieved == 1 or rewinds else ():
            weights = start if made is None else made.file("weights")
            made = work.chain.do(f"{verb}-{name}", verb, weights=weights, **values)
        if made is None:
            raise PruningError("the target asks for no cut: the model is there already.")
        return made

    def _rewound(self, name: str, plans: Sequence[str]) -> Done:
        """Take out of the early weights what all cuts so far have taken out."""
        assert self._adapted is not None
        weights = f"{self._adapted.file(FOLDER)}/{SAVED.format(self._work.settings.rewind)}"
        for number, plan in enumerate(plans, start=1):
            last = f"rewind-{name}" + ("" if number == len(plans) else f"-{number}")
            made = self._work.chain.do(last, "prune", weights=weights, plan=plan, latency=False)
            weights = made.file("weights")
        return made

    def _finetune(self, cut: Done, name: str, epochs: int) -> Done:
        """Train the cut, with a dense model as its teacher; it keeps its shape."""
        teacher = self._subject.teacher.file if self._work.settings.distill else None
        return self._work.train(
            f"finetune-{name}",
            epochs,
            weights=cut.file("weights"),
            teacher=teacher,
            auto_anchor=None if teacher is None else False,
        )


def _part(epochs: int, number: int, rounds: int) -> int:
    """Return the epochs of a round: the last one gets half, the others share the rest."""
    if rounds == 1:
        return epochs
    early = epochs // 2 // (rounds - 1)
    return early if number < rounds else epochs - early * (rounds - 1)


def _miss(share: float) -> tuple[bool, float]:
    """Return how bad it is to reach such a share of a goal: too little is worse than too much."""
    return share < CLOSE_ENOUGH, abs(math.log(share))
