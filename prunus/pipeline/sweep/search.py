"""Trials that Optuna proposes: many objectives, TPE, and the table as its only memory.

The study lives in this process and is made anew from the table when a sweep is resumed, so that
there is no second file that could say something else. TPE rather than NSGA-II: that learns from one
generation of 50 trials to the next, and a sweep seldom has three.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from prunus.core.errors import ConfigError
from prunus.pipeline.sweep.config import SweepConfig
from prunus.pipeline.sweep.front import cost
from prunus.pipeline.sweep.point import Point, Trial
from prunus.pipeline.sweep.table import Table

if TYPE_CHECKING:
    import optuna

AMOUNT_DIGITS = 4
AXES = ("criterion", "repair", "scope", "round_to")


class Search:
    """See `drive.Proposals`."""

    def __init__(
        self, settings: SweepConfig, table: Table, check: Callable[[Point], Point]
    ) -> None:
        """Take up a search where its table is.

        Args:
            settings: Of the sweep.
            table: With the dense model in its first row.
            check: Returns a point as it is to be pruned with.

        Raises:
            ConfigError: Optuna is not installed.
        """
        optuna = _import_optuna()
        self._settings, self._table, self._check = settings, table, check
        self._goal = settings.trials or 0
        trials = table.trials()
        self._waiting = deque(trial for trial in trials if trial.status == "waiting")
        self._space = _space(settings)
        self._study = optuna.create_study(
            directions=["maximize", "minimize"],
            sampler=optuna.samplers.TPESampler(
                seed=settings.seed + len(trials), multivariate=True, constant_liar=True
            ),
        )
        self._asked: dict[int, Any] = {}
        for trial in trials[1:]:
            self._remember(trial)
        self._proposed = len(trials) - 1

    def next(self) -> Trial | None:
        if self._waiting:
            return self._waiting.popleft()
        if self._proposed >= self._goal:
            return None
        asked = self._study.ask(self._space)
        point = self._check(_point(asked.params, self._settings))
        (trial,) = self._table.add([point])
        self._asked[trial.number] = asked
        self._proposed += 1
        return trial

    def tell(self, trial: Trial) -> None:
        asked = self._asked.pop(trial.number, None)
        if asked is not None:
            state, values = _result(trial)
            self._study.tell(asked, values=values, state=state)

    @property
    def left(self) -> int:
        return len(self._waiting) + self._goal - self._proposed

    def _remember(self, trial: Trial) -> None:
        """Let the study know a trial of an earlier start."""
        import optuna

        params = _params(trial, self._space)
        if trial.status == "waiting":
            self._study.enqueue_trial(params)
            self._asked[trial.number] = self._study.ask(self._space)
            return
        state, values = _result(trial)
        self._study.add_trial(
            optuna.trial.create_trial(
                state=state, values=values, params=params, distributions=self._space
            )
        )


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "--trials: needs Optuna. Install it with: pip install 'prunus[sweep]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _space(settings: SweepConfig) -> "dict[str, optuna.distributions.BaseDistribution]":
    """Return what is searched: each axis of several words, and the budget between its ends."""
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
    )

    amounts = settings.amounts
    space: dict[str, BaseDistribution] = {
        name: CategoricalDistribution(tuple(dict.fromkeys(getattr(settings, name))))
        for name in AXES
    }
    space["amount"] = FloatDistribution(min(amounts), max(amounts))
    return space


def _point(params: dict[str, Any], settings: SweepConfig) -> Point:
    words = {name: params[name] for name in AXES}
    amount = round(params["amount"], AMOUNT_DIGITS)
    return Point(**words, budget=settings.budget, amount=amount, seed=settings.seed)


def _params(trial: Trial, space: "dict[str, Any]") -> dict[str, Any]:
    amount = space["amount"]
    within = min(max(trial.amount or 0, amount.low), amount.high)  # rounding may have moved it out
    return {**{name: getattr(trial, name) for name in AXES}, "amount": within}


def _result(trial: Trial) -> "tuple[optuna.trial.TrialState, Sequence[float] | None]":
    from optuna.trial import TrialState

    price = cost(trial)
    if trial.status != "done" or trial.map50_95 is None or price is None:
        return TrialState.FAIL, None
    return TrialState.COMPLETE, (trial.map50_95, price)
