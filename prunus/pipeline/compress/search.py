"""Which cut is tried next: from the goal, or from twice, toward the most that may be lost.

Factors are compared on a scale of ratios: between one that was good enough and one that was not,
the next is their geometric mean. A near miss is tried again first, with the same factor and the
same epochs, in one round of prune and fine-tune more.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prunus.pipeline.compress.target import CLOSE_ENOUGH

FIRST = 2.0
STEP = 1.4
NEAR = 1.1
"""A good cut and a bad one that are no further apart than this leave nothing to look for."""
NEAR_MISS = 1.0
"""Points lost beyond what may be lost that another round may bring back."""


@dataclass(frozen=True)
class Trial:
    """A cut that was trained and judged.

    Attributes:
        asked: The factor that it was to reach.
        achieved: The one that it reached; 1 where nothing could be cut.
        map50_95: On the validation split; None where it came to nothing.
        drop: Points lost against the fair comparison; None without one.
        accepted: Whether it lost no more than may be lost.
        rounds: Cuts that it was made in.
        is_near_miss: Whether it lost at most NEAR_MISS more than that.
        stages: Names of those that led to its weights.
        made: Name of the stage whose weights they are.
        judged: Name of the stage that judged them.
        why: What stood in the way, where it came to nothing.
    """

    asked: float
    achieved: float
    map50_95: float | None
    drop: float | None
    accepted: bool
    rounds: int = 1
    is_near_miss: bool = False
    stages: tuple[str, ...] = ()
    made: str = ""
    judged: str = ""
    why: str = ""


def search(
    goal: float | None,
    attempts: int,
    attempt: Callable[[float, int, int], Trial],
    affordable: Callable[[], bool],
    *,
    furthest: bool,
    rounds: tuple[int, int] = (1, 1),
) -> list[Trial]:
    """Try cuts until the goal is met, or nothing is left to look for or to spend.

    Args:
        goal: Factor that is asked for; None for the largest that is accepted.
        attempts: Most cuts.
        attempt: (factor, number from 1, rounds) -> what came of it.
        affordable: Whether one more fits the budget; not asked before the first.
        furthest: Go on after the goal, for the largest that is accepted.
        rounds: In how many a factor is tried first, and at most.
    """
    trials: list[Trial] = []
    low, high, asked, number_of_rounds = 1.0, math.inf, goal or FIRST, rounds[0]
    while len(trials) < attempts and (not trials or affordable()):
        trial = attempt(asked, len(trials) + 1, number_of_rounds)
        trials.append(trial)
        if trial.is_near_miss and number_of_rounds < rounds[1]:
            number_of_rounds += 1
            continue
        number_of_rounds = rounds[0]
        if trial.accepted:
            low = max(low, trial.achieved)
        else:
            high = min(high, max(trial.achieved, NEAR) if trial.stages else asked)
        met = trial.accepted and goal is not None and trial.achieved >= goal * CLOSE_ENOUGH
        stuck = trial.accepted and trial.achieved < asked * 0.9
        if (met and not furthest) or stuck or high <= low * NEAR:
            break
        asked = low * STEP if math.isinf(high) else math.sqrt(low * high)
    return trials


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the furthest trial that was accepted; or else the one that lost least; or None."""
    whole = [trial for trial in trials if trial.map50_95 is not None]
    accepted = [trial for trial in whole if trial.accepted]
    if accepted:
        return max(accepted, key=lambda trial: trial.achieved)
    return max(whole, key=lambda trial: trial.map50_95 or 0.0, default=None)
