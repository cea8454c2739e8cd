"""The search between cuts that were good enough and cuts that were not, on made-up detectors."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunus.pipeline.compress.search import FIRST, NEAR, STEP, Trial, best_of, search


def detector(limit: float, asked: list[float] | None = None, ceiling: float = math.inf):  # type: ignore[no-untyped-def]
    """Return an attempt: cuts up to `limit` lose nothing that matters, none goes past `ceiling`."""

    def attempt(factor: float, number: int, _: int) -> Trial:
        if asked is not None:
            asked.append(factor)
        reached = min(factor, ceiling)
        drop = 0.5 if reached <= limit else 2.5
        return Trial(factor, reached, 0.6, drop, drop <= 1, stages=(f"val-{number}",))

    return attempt


def always() -> bool:
    return True


def test_a_goal_that_is_met_ends_the_search() -> None:
    (trial,) = search(2.0, 6, detector(2.5), always, furthest=False)
    assert (trial.asked, trial.accepted) == (2.0, True)


def test_furthest_goes_on_after_the_goal() -> None:
    asked: list[float] = []
    trials = search(2.0, 3, detector(2.5, asked), always, furthest=True)
    assert asked == pytest.approx([2.0, 2.0 * STEP, math.sqrt(2.0 * 2.8)])
    best = best_of(trials)
    assert best is not None and best.achieved == pytest.approx(math.sqrt(5.6))


def test_a_goal_that_is_missed_is_come_back_from() -> None:
    asked: list[float] = []
    search(4.0, 3, detector(1.5, asked), always, furthest=False)
    assert asked == pytest.approx([4.0, 2.0, math.sqrt(2.0)])


def test_without_a_goal_it_begins_at_twice() -> None:
    asked: list[float] = []
    search(None, 2, detector(3.0, asked), always, furthest=False)
    assert asked == pytest.approx([FIRST, FIRST * STEP])


def test_a_near_miss_is_tried_again_in_one_round_more() -> None:
    """Twice as fast loses a little too much in one round, and not in two; 2.8 times much more."""
    asked: list[tuple[float, int]] = []

    def attempt(factor: float, number: int, rounds: int) -> Trial:
        asked.append((factor, rounds))
        near = factor == 2.0 and rounds == 1
        good = factor == 2.0 and rounds == 2
        return Trial(factor, factor, 0.6, 1.5, good, rounds, near, (f"val-{number}",))

    trials = search(2.0, 3, attempt, always, furthest=True, rounds=(1, 2))
    assert asked == [(2.0, 1), (2.0, 2), (2.0 * STEP, 1)]
    assert best_of(trials) is trials[1]
    asked.clear()
    search(2.0, 2, attempt, always, furthest=True)
    assert asked == [(2.0, 1), (math.sqrt(2.0), 1)], "not where one round is all that is asked for"


def test_what_cannot_be_afforded_is_not_tried_but_the_first_is() -> None:
    assert len(search(4.0, 5, detector(1.5), lambda: False, furthest=False)) == 1


def test_a_cut_that_reaches_no_further_ends_the_search() -> None:
    trials = search(4.0, 5, detector(9.0, ceiling=2.0), always, furthest=True)
    assert [trial.achieved for trial in trials] == [2.0]


def test_a_cut_that_cannot_be_made_counts_as_too_much() -> None:
    def attempt(factor: float, *_: int) -> Trial:
        return Trial(factor, 1.0, None, None, accepted=False, why="no channels are left")

    trials = search(4.0, 3, attempt, always, furthest=False)
    assert [trial.asked for trial in trials] == pytest.approx([4.0, 2.0, math.sqrt(2.0)])
    assert best_of(trials) is None


def test_of_cuts_that_all_lost_too_much_the_best_is_the_least_bad() -> None:
    trials = [
        Trial(3.0, 3.0, 0.50, 9.0, accepted=False, stages=("a",)),
        Trial(1.5, 1.5, 0.58, 1.5, accepted=False, stages=("b",)),
    ]
    assert best_of(trials) is trials[1]


@given(limit=st.floats(1.0, 20.0), goal=st.one_of(st.none(), st.floats(1.05, 10.0)))
def test_the_search_closes_in_on_what_may_be_lost(limit: float, goal: float | None) -> None:
    trials = search(goal, 40, detector(limit), always, furthest=True)
    best = best_of(trials)
    assert best is not None
    found = best.achieved if best.accepted else 1.0
    assert found <= limit <= max(found, 1.0) * NEAR * NEAR * 1.001 or limit < NEAR
