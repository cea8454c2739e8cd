"""Return layers to float, the noisiest first, until accuracy is near enough to float's.

The order is fixed beforehand and only its length is sought: 1, 2, 4 … layers until it is enough,
then halving between the last two. Every trial costs a pass over images, so their number is bounded.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Trial:
    """One set of layers in float, judged.

    Attributes:
        floating: Their names, noisiest first.
        accuracy: mAP50-95 on the judging images.
    """

    floating: tuple[str, ...]
    accuracy: float


@dataclass(frozen=True)
class Found:
    """Where a search ended.

    Attributes:
        chosen: The fewest layers that were enough; or, where none were, the most accurate trial.
        reached: Whether they are enough.
        trials: All, in the order they were made.
    """

    chosen: Trial
    reached: bool
    trials: tuple[Trial, ...]

    def is_better_than(self, other: "Found") -> bool:
        """Return whether it ended where another did not, or else at a higher accuracy."""
        return (self.reached, self.chosen.accuracy) > (other.reached, other.chosen.accuracy)


def search(
    order_of: Callable[[], Sequence[str]],
    accuracy_of: Callable[[tuple[str, ...]], float],
    *,
    least: float,
    max_trials: int,
) -> Found:
    """Find how many layers must stay in float.

    Args:
        order_of: Gives the layers that may, the one to go first in front; asked only when needed.
        accuracy_of: Judges the model with these layers in float.
        least: Accuracy that is enough.
        max_trials: At least 1; the first is the model with none of them.
    """
    trials = [Trial((), accuracy_of(()))]
    if trials[0].accuracy >= least:
        return Found(trials[0], True, tuple(trials))
    order = order_of()
    too_few, count = 0, min(1, len(order))
    enough: Trial | None = None
    while count > too_few and len(trials) < max_trials:
        floating = tuple(order[:count])
        trials.append(Trial(floating, accuracy_of(floating)))
        if trials[-1].accuracy >= least:
            enough = trials[-1]
        else:
            too_few = count
        count = _next_count(too_few, len(order) if enough is None else len(enough.floating), enough)
    if enough is None:
        return Found(max(trials, key=lambda trial: trial.accuracy), False, tuple(trials))
    return Found(enough, True, tuple(trials))


def _next_count(too_few: int, most: int, enough: Trial | None) -> int:
    """Return the number of layers to try next; `too_few` when there is none left to try."""
    return min(2 * too_few, most) if enough is None else (too_few + most) // 2


def noisiest_first(noise: Mapping[str, float]) -> list[str]:
    """Return the layers in the order of their noise."""
    return sorted(noise, key=lambda name: -noise[name])
