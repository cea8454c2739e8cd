"""From layers to a network: the line, by hand."""

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from prunus.core.errors import ExportError
from prunus.export.latency.cache import Origin
from prunus.export.latency.lanes import Lane
from prunus.export.latency.predict import Correction, Layers, correction, layers_ms, predict
from prunus.export.latency.runtimes import Precision, Runtime
from prunus.export.latency.table import LatencyTable
from prunus.model.layers import LayerShape

CONV = LayerShape("conv", (3, 3), (1, 1), (1, 1), (1, 1), 1, (20, 20), "SiLU")
ROW = Runtime(
    "Fake",
    lambda: "1",
    lambda _, i, o, __: Lane("", i, o),
    {
        "fp32": Precision(lambda *_, **__: [], share_in_layers=0.25),
        "bf16": Precision(lambda *_, **__: [], share_in_layers=0.5),
    },
)
"""A quarter of what the layers do not explain shrinks with them, in bfloat16 a half."""

TABLE = LatencyTable(
    Origin("fake", "1", "fp32", 1, {"processor": "abacus", "cores": 1}),
    datetime.now(timezone.utc),
    ROW,
    16,
    {CONV.label(): {"": {(10, 10): 1.0, (100, 10): 10.0}}},
)
"""A layer of n -> 10 channels costs n / 10 ms."""


def network(*widths: int) -> Layers:
    return {str(number): (CONV, width, 10) for number, width in enumerate(widths)}


def test_layers_add_up() -> None:
    assert layers_ms(TABLE, network(10, 50, 40)) == 10


def test_the_dense_network_alone_fixes_the_line_with_the_runtimes_share() -> None:
    line = correction(TABLE, [(network(50, 50), 14.0)])
    assert line == Correction(factor=1.1, rest_ms=3.0)
    assert predict(TABLE, network(50, 50), line) == pytest.approx(14)
    assert predict(TABLE, network(20, 30), line) == pytest.approx(5 * 1.1 + 3)


def test_the_share_is_that_of_the_precision() -> None:
    half = replace(TABLE, origin=replace(TABLE.origin, precision="bf16"))
    line = correction(half, [(network(50, 50), 14.0)])
    assert line == Correction(factor=1.2, rest_ms=2.0)


def test_a_second_network_makes_the_line_its_own() -> None:
    line = correction(TABLE, [(network(50, 50), 14.0), (network(20, 20), 6.8)])
    assert line.factor == pytest.approx(1.2)
    assert line.rest_ms == pytest.approx(2)


@pytest.mark.parametrize("second", [(network(50, 49), 13.95), (network(20, 20), 5.0)])
def test_a_second_network_that_says_nothing_is_not_believed(second: tuple[Layers, float]) -> None:
    """Too near, or such that no time would be left for the rest."""
    dense = (network(50, 50), 14.0)
    assert correction(TABLE, [dense, second]) == correction(TABLE, [dense])


def test_a_network_faster_than_its_layers_has_no_rest() -> None:
    assert correction(TABLE, [(network(50, 50), 8.0)]) == Correction(factor=0.8, rest_ms=0.0)


def test_something_must_have_been_measured() -> None:
    with pytest.raises(ExportError, match="the dense network's own time is needed"):
        correction(TABLE, [])
