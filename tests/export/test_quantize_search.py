"""The search for layers to keep in float, on accuracies that are made up; names; shares."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunus.core.errors import ConfigError
from prunus.export.quantize.layers import layers_meant
from prunus.export.quantize.outcome import returned, search_facts
from prunus.export.quantize.search import noisiest_first, search
from prunus.export.quantize.training_images import split_positions

LAYERS = [f"layer{number}" for number in range(20)]


def judged(needed: int, calls: list[int] | None = None) -> Callable[[tuple[str, ...]], float]:
    """Return what says .3 until `needed` layers are float, and .33 from there on."""

    def accuracy_of(floating: tuple[str, ...]) -> float:
        if calls is not None:
            calls.append(len(floating))
        assert list(floating) == LAYERS[: len(floating)]
        return 0.3 + 0.03 * (len(floating) >= needed) + 1e-6 * len(floating)

    return accuracy_of


@pytest.mark.parametrize("needed", range(21))
def test_the_fewest_layers_that_are_enough_are_found(needed: int) -> None:
    found = search(lambda: LAYERS, judged(needed), least=0.32, max_trials=99)
    assert found.reached
    assert found.chosen.floating == tuple(LAYERS[:needed])
    assert found.chosen.accuracy >= 0.32


def test_few_trials_are_made_and_none_twice() -> None:
    calls: list[int] = []
    search(lambda: LAYERS, judged(11, calls), least=0.32, max_trials=99)
    assert calls == [0, 1, 2, 4, 8, 16, 12, 10, 11]


def test_noise_is_not_measured_when_nothing_is_lost() -> None:
    def never() -> list[str]:
        raise AssertionError("asked for")

    found = search(never, judged(0), least=0.32, max_trials=1)
    assert (found.reached, len(found.trials)) == (True, 1)


def test_where_none_is_enough_the_best_is_taken_and_not_the_last() -> None:
    accuracies = {0: 0.2, 1: 0.4, 2: 0.3}
    found = search(lambda: ["a", "b"], lambda names: accuracies[len(names)], least=1, max_trials=9)
    assert (found.reached, found.chosen.floating, len(found.trials)) == (False, ("a",), 3)


@given(st.integers(0, 25), st.integers(1, 9))
def test_the_trials_are_bounded(needed: int, most: int) -> None:
    found = search(lambda: LAYERS, judged(needed), least=0.32, max_trials=most)
    assert len(found.trials) <= most
    assert found.reached == (found.chosen.accuracy >= 0.32)
    assert len({trial.floating for trial in found.trials}) == len(found.trials)


def test_a_model_without_layers_is_judged_once() -> None:
    found = search(list, lambda _: 0.1, least=0.2, max_trials=9)
    assert (found.reached, len(found.trials)) == (False, 1)


def test_the_noisiest_comes_first() -> None:
    assert noisiest_first({"a": 0.1, "b": 0.7, "c": 0.2}) == ["b", "c", "a"]


def test_the_table_says_what_was_returned_and_why() -> None:
    noise = {"layer0": 0.6, "layer1": 0.3, "layer9": 0.1}
    found = search(lambda: LAYERS, judged(2), least=0.32, max_trials=9)
    rows = returned(["named"], found, noise)
    assert [(row["layer"], row["why"], row["noise_share"]) for row in rows] == [
        ("named", "--float", None),
        ("layer0", "search", 0.6),
        ("layer1", "search", 0.3),
    ]
    assert rows[2]["map50_95"] == pytest.approx(0.33, abs=1e-4)
    assert search_facts(found)["reached"] is True


NAMES = [
    "/detector/model.1/conv/Conv",
    "/detector/model.11/cv1/conv/Conv",
    "/detector/model.11/m/m.1/cv3/conv/Conv",
]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["1"], NAMES[:1]),
        (["11"], NAMES[1:]),
        (["*/cv3/*", "1"], [NAMES[0], NAMES[2]]),
        ([NAMES[1]], NAMES[1:2]),
        ([], []),
    ],
)
def test_rows_and_patterns_name_layers(words: list[str], expected: list[str]) -> None:
    assert layers_meant(words, NAMES) == tuple(expected)


def test_a_word_that_names_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--float: '24' names no layer .*Give a row's number"):
        layers_meant(["24"], NAMES)


@given(st.integers(0, 500), st.integers(1, 300), st.integers(1, 300))
def test_calibration_and_judging_share_no_image(images: int, first: int, second: int) -> None:
    calibration, judging = split_positions(images, first, second)
    both = calibration + judging
    assert len(set(both)) == len(both) == min(images, first + second)
    assert all(0 <= position < images for position in both)
    assert len(calibration) <= first or images < first + second
    assert bool(calibration) == bool(images)


def test_both_shares_are_spread_over_all_images() -> None:
    calibration, judging = split_positions(1000, 10, 10)
    for part in (calibration, judging):
        assert len(part) == 10
        assert part[0] < 100
        assert part[-1] > 900
