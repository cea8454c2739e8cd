"""How many blocks go: the first that does not help ends it."""

import pytest
from torch import nn

from prunus.pipeline.blocks import best_of

REMOVALS = [(), ("a",), ("a", "b"), ("a", "b", "c")]


@pytest.mark.parametrize(
    ("errors", "best", "tried"),
    [
        ([0.5, 0.6, 0.1, 0.1], (), 2),  # the first block already does harm
        ([0.5, 0.4, 0.4, 0.1], ("a",), 3),  # an equal one is not worth taking out
        ([0.5, 0.4, 0.3, 0.2], ("a", "b", "c"), 4),
    ],
)
def test_the_first_block_that_does_not_help_ends_it(
    errors: list[float], best: tuple[str, ...], tried: int
) -> None:
    seen: list[tuple[str, ...]] = []

    def cut(gone: tuple[str, ...]) -> tuple[str, ...]:
        seen.append(gone)
        return gone

    def error(_network: nn.Module) -> float:
        return errors[len(seen) - 1]

    assert best_of(REMOVALS, cut, lambda _result: nn.Identity(), error) == best
    assert len(seen) == tried
