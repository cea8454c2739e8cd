"""Values of damaged or hostile files, and how figures are written."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunus.report import values, wording

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1.0), (0.5, 0.5), (True, None), ("1", None), (math.nan, None), (math.inf, None),
     (10**400, None), ([], None), (None, None)],
)  # fmt: skip
def test_only_finite_numbers_are_numbers(value: object, expected: float | None) -> None:
    assert values.number(value) == expected


def test_texts_lose_their_control_characters_and_their_tails() -> None:
    assert values.text("a\x1b[31m\n") == "a\\x1b[31m\\n"
    assert values.text("\udcff") == "\\udcff"
    assert values.text("x" * 400) == "x" * 299 + "…"
    assert values.text(None) == ""


def test_intervals_rise() -> None:
    assert values.interval([0.1, 0.2]) == (0.1, 0.2)
    assert values.interval([0.2, 0.1]) is None
    assert values.interval([0.1, None]) is None


@given(JSON)
def test_nothing_makes_a_reader_raise(value: object) -> None:
    for read in (values.record, values.records, values.number, values.numbers, values.whole,
                 values.text, values.texts, values.interval):  # fmt: skip
        read(value)


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [(0.0, 1, "0.0"), (-0.04, 1, "0.0"), (-0.06, 1, "−0.1"), (2.0, 0, "+2"), (-1234.5, 0, "−1234")],
)
def test_signs(value: float, digits: int, expected: str) -> None:
    assert wording.signed(value, digits) == expected


def test_figures_as_they_are_written() -> None:
    assert wording.points(-0.0051) == "−0.5"
    assert [wording.decimal(n) for n in (-0.001, -1.5, 1234.0)] == ["0.00", "−1.50", "1,234.00"]
    assert wording.times(2) == "2.00×"
    assert wording.count(1767976.0) == "1,767,976"
    assert wording.percent(-0.744) == "−74 %"
    assert wording.between((0.25, 0.5)) == "0.250 to 0.500"
    assert [wording.duration(s) for s in (6.17, 61.0, 3723.0)] == [
        "6.2 s",
        "1 min 1 s",
        "1 h 2 min",
    ]
    assert {wording.share(None), wording.times(None), wording.duration(None)} == {"–"}
    assert [wording.plural(n, "point") for n in (1, 0.5)] == ["1 point", "0.5 points"]
