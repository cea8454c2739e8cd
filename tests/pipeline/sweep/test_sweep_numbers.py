"""Comma lists and ranges, as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunus.pipeline.sweep.numbers import read_numbers, read_range, read_words


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.3:0.9:0.1", (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)),  # 0.1 has no exact binary form
        ("0.3:0.9:0.25", (0.3, 0.55, 0.8)),
        ("1:3:1", (1.0, 2.0, 3.0)),
        ("0.5:0.5:0.1", (0.5,)),
        ("0.7:0.9:0.1,0.5", (0.7, 0.8, 0.9, 0.5)),
        ("0.5, 0.7 ,", (0.5, 0.7)),
        (["0.5,0.6", "1:2:1"], (0.5, 0.6, 1.0, 2.0)),
        (0.5, (0.5,)),
        ([1, 0.5], (1.0, 0.5)),
        (None, ()),
        ("", ()),
    ],
)
def test_numbers_by_hand(text: object, values: tuple[float, ...]) -> None:
    assert read_numbers(text) == values


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0.9:0.3:0.1", "'0.9:0.3:0.1' is empty. Write first:last:step"),
        ("0.3:0.9:0", "is empty"),
        ("0.3:0.9:-0.1", "is empty"),
        ("0.3:0.9", "'0.3:0.9' is no range"),
        ("0.3:x:0.1", "'0.3:x:0.1' is no number, list or range"),
        ("half", "'half' is no number"),
        ("nan", "'nan' is no number"),
        ("0:inf:1", "is no number"),
        ("0:1:0.0001", "has more than 1000 values"),
        ([True], "'True' is no number"),
    ],
)
def test_what_is_no_list_of_numbers_is_named(text: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_numbers(text)


@given(first=st.integers(1, 50), count=st.integers(1, 30), step=st.integers(1, 20), of=st.just(100))
def test_a_range_holds_both_ends_and_even_steps(first: int, count: int, step: int, of: int) -> None:
    last = first + (count - 1) * step
    values = read_range(f"{first / of}:{last / of}:{step / of}")
    assert len(values) == count
    assert (values[0], values[-1]) == (first / of, last / of)


def test_words() -> None:
    assert read_words("l1, taylor,") == ("l1", "taylor")
    assert read_words(["l1,l2", "bn", 8]) == ("l1", "l2", "bn", "8")
