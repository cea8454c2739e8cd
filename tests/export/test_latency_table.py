"""The latency table: grids, steps, interpolation, cache. The runtime is a made-up one."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunus.core.errors import ExportError
from prunus.export.latency import cache as stored
from prunus.export.latency.lanes import UNALIGNED, Lane, candidates, rounded_up, unaligned
from prunus.export.latency.prices import between, price
from prunus.export.latency.runtimes import Precision, Runtime, Widths
from prunus.export.latency.table import LatencyTable, measure
from prunus.export.latency.timing import quiet_ms, time_in_turn
from prunus.export.latency.widths import efficient_widths
from prunus.model.layers import DEPTHWISE, LayerShape

CONV = LayerShape("conv", (3, 3), (1, 1), (1, 1), (1, 1), 1, (20, 20), "SiLU")
NOISE = (1.0, 3.0, 1.0, 2.0)
"""Other load: it only ever adds time."""


def true_ms(inputs: int, outputs: int) -> float:
    return 0.001 * inputs * outputs


class Fake:
    """A runtime whose cost is the product of the widths, in steps of 16; odd inputs cost thrice."""

    def __init__(self, version: str = "1.0") -> None:
        self.timed: list[tuple[LayerShape, Widths]] = []
        self.row = Runtime(
            "Fake",
            lambda: version,
            self.lane,
            {
                "fp32": Precision(self.time_layers, 0.5),
                "bf16": Precision(self.time_in_half, 0.5),
            },
        )

    def time_layers(
        self, shape: LayerShape, points: Sequence[Widths], *, threads: int, rounds: int
    ) -> list[list[float]]:
        self.timed += [(shape, point) for point in points]
        factors = [3 if inputs % 2 else 1 for inputs, _ in points]
        return [
            [factor * true_ms(*point) * NOISE[i % len(NOISE)] / threads for i in range(rounds)]
            for point, factor in zip(points, factors, strict=True)
        ]

    def time_in_half(
        self, shape: LayerShape, points: Sequence[Widths], *, threads: int, rounds: int
    ) -> list[list[float]]:
        """A third of the time."""
        timed = self.time_layers(shape, points, threads=threads, rounds=rounds)
        return [[ms / 3 for ms in times] for times in timed]

    @staticmethod
    def lane(shape: LayerShape, inputs: int, outputs: int, vector: int) -> Lane:
        if shape.groups == DEPTHWISE:
            return Lane("depthwise", 1, rounded_up(outputs, vector))
        if inputs % 2:
            return Lane(UNALIGNED, inputs, outputs)
        return Lane("", rounded_up(inputs, vector), rounded_up(outputs, vector))

    def table(
        self, folder: Path, *layers: tuple[LayerShape, int, int], **changes: Any
    ) -> LatencyTable:
        named = {str(number): layer for number, layer in enumerate(layers)}
        return measure(named, "fake", cache=folder, runtimes={"fake": self.row}, **changes)


@pytest.fixture(autouse=True)
def wide_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 16 on any machine that runs the tests."""
    monkeypatch.setattr("prunus.export.latency.table.vector_width", lambda: 16)


def test_a_width_between_two_steps_costs_what_the_upper_one_costs(tmp_path: Path) -> None:
    table = Fake().table(tmp_path, (CONV, 64, 64))
    assert table.ms(CONV, 64, 49) == table.ms(CONV, 50, 64) == pytest.approx(true_ms(64, 64))
    assert table.ms(CONV, 18, 48) == pytest.approx(true_ms(32, 48))


def test_what_lies_between_measured_steps_is_interpolated(tmp_path: Path) -> None:
    fake = Fake()
    table = fake.table(tmp_path, (CONV, 256, 256))
    assert (160, 160) not in {point for _, point in fake.timed}
    assert table.ms(CONV, 160, 160) == pytest.approx(true_ms(160, 160))


def test_unaligned_counts_have_prices_of_their_own(tmp_path: Path) -> None:
    table = Fake().table(tmp_path, (CONV, 64, 64))
    assert table.ms(CONV, 33, 64) == pytest.approx(3 * true_ms(33, 64), rel=1e-3)


def test_a_layer_called_thrice_costs_three_times_and_is_measured_once(tmp_path: Path) -> None:
    fake = Fake()
    table = fake.table(tmp_path, (CONV, 32, 32), (replace(CONV, calls=3), 32, 32))
    assert table.ms(replace(CONV, calls=3), 32, 32) == 3 * table.ms(CONV, 32, 32)
    assert {shape for shape, _ in fake.timed} == {CONV}
    assert len(set(fake.timed)) * 2 == len(fake.timed), "two sweeps over each point, no more"


def test_a_depthwise_layer_is_built_with_as_many_inputs_as_outputs(tmp_path: Path) -> None:
    fake, deep = Fake(), replace(CONV, groups=DEPTHWISE)
    table = fake.table(tmp_path, (deep, 64, 64))
    assert {inputs == outputs for _, (inputs, outputs) in fake.timed} == {True}
    assert table.ms(deep, 40, 40) == pytest.approx(true_ms(48, 48))


def test_a_grouped_layer_is_measured_at_multiples_of_its_groups(tmp_path: Path) -> None:
    fake = Fake()
    fake.table(tmp_path, (replace(CONV, groups=6), 48, 48))
    assert all(side % 6 == 0 or side % 16 == 0 for _, point in fake.timed for side in point)


def test_no_channels_cost_nothing_and_unknown_shapes_are_an_error(tmp_path: Path) -> None:
    table = Fake().table(tmp_path, (CONV, 32, 32))
    assert table.ms(CONV, 0, 32) == 0
    with pytest.raises(ExportError, match=r"no prices for conv/5x5.* at 32 -> 32 channels"):
        table.ms(replace(CONV, kernel=(5, 5)), 32, 32)


def test_an_unknown_runtime_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no runtime 'onxx'\. Did you mean 'onnx'"):
        measure({}, "onxx", cache=tmp_path)


def test_what_is_cached_is_not_measured_again(tmp_path: Path) -> None:
    first, second = Fake(), Fake()
    before = first.table(tmp_path, (CONV, 32, 32))
    after = second.table(tmp_path, (CONV, 32, 32))
    assert second.timed == []
    assert after.shelves == before.shelves
    assert abs(after.created - before.created) < timedelta(seconds=1)


def test_only_what_is_missing_is_measured(tmp_path: Path) -> None:
    small, large = Fake(), Fake()
    small.table(tmp_path, (CONV, 32, 32))
    large.table(tmp_path, (CONV, 64, 32))
    assert large.timed and not set(large.timed) & set(small.timed)


@pytest.mark.parametrize("change", ["machine", "version", "threads", "precision"])
def test_prices_of_another_origin_are_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    Fake().table(tmp_path, (CONV, 32, 32))
    other = Fake("2.0" if change == "version" else "1.0")
    if change == "machine":
        monkeypatch.setattr(stored, "this_machine", lambda: {"processor": "abacus", "cores": 1})
    changes = {"threads": {"threads": 2}, "precision": {"precision": "bf16"}}
    other.table(tmp_path, (CONV, 32, 32), **changes.get(change, {}))
    assert other.timed
    assert len(list(tmp_path.iterdir())) == 2


def test_each_precision_has_its_own_prices(tmp_path: Path) -> None:
    for _ in ("measured", "from the cache"):
        full = Fake().table(tmp_path, (CONV, 32, 32))
        half = Fake().table(tmp_path, (CONV, 32, 32), precision="bf16")
        assert full.ms(CONV, 32, 32) == pytest.approx(3 * half.ms(CONV, 32, 32), abs=1e-5)
    assert (full.origin.precision, half.origin.precision) == ("fp32", "bf16")


def test_a_precision_that_a_runtime_has_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"ONNX Runtime computes in fp32, not in bf16\. Ask for"):
        measure({}, "onnx", precision="bf16", cache=tmp_path)


def test_a_damaged_cache_is_measured_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Fake().table(tmp_path, (CONV, 32, 32))
    (file,) = tmp_path.iterdir()
    file.write_text("[1, 2", encoding="utf-8")
    again = Fake()
    again.table(tmp_path, (CONV, 32, 32))
    assert again.timed
    assert "measured again" in caplog.text


def test_the_cache_lies_where_the_user_keeps_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNUS_CACHE", str(tmp_path))
    measure({"a": (CONV, 16, 16)}, "fake", runtimes={"fake": Fake().row})
    assert len(list((tmp_path / "latency").glob("fake-fp32-1-*.json"))) == 1


def test_the_description_names_machine_and_age(tmp_path: Path) -> None:
    table = Fake().table(tmp_path, (CONV, 16, 16))
    assert table.describe().startswith("Fake 1.0 fp32, 1 thread, ")
    assert str(table.origin.machine["processor"]) in table.describe()
    assert table.describe().endswith("prices, measured just now")
    later = table.created + timedelta(days=3, hours=2)
    assert table.describe(later).endswith("measured 3 days ago")


def test_efficient_widths_are_the_tops_of_the_steps(tmp_path: Path) -> None:
    table = Fake().table(tmp_path, (CONV, 64, 56))
    assert table.widths(CONV, 64, 56, side="outputs") == (16, 32, 48, 56)
    assert table.widths(CONV, 64, 56, side="inputs") == (16, 32, 48, 64)


@given(
    st.lists(st.integers(1, 50).map(float), min_size=1, max_size=40),
    st.sampled_from([0.0, 0.02, 0.2]),
)
def test_the_envelope_rises_and_leaves_no_cheaper_width_above(
    costs: list[float], saving: float
) -> None:
    found = efficient_widths(lambda width: costs[width - 1], len(costs), saving=saving)
    chosen = [costs[width - 1] for width in found]
    assert found[-1] == len(costs)
    assert all(lower < upper for lower, upper in pairwise(chosen))
    if saving == 0:
        for width, cost in enumerate(costs, start=1):
            assert (width in found) == all(cost < above for above in costs[width:])


def test_prices_between_measured_ones_by_hand() -> None:
    prices = {(16, 16): 1.0, (16, 32): 2.0, (32, 16): 3.0, (32, 32): 6.0}
    assert price(prices, 16, 24) == 1.5
    assert price(prices, 24, 16) == 2.0
    assert price(prices, 24, 24) == 3.0
    assert price(prices, 8, 8) == 1.0, "never cheaper than the least that was measured"
    assert price(prices, 64, 32) == 12.0, "in proportion above the largest"


@given(st.dictionaries(st.integers(1, 99), st.floats(0.1, 9), min_size=1), st.integers(1, 99))
def test_an_interpolated_price_lies_between_its_neighbours(
    known: dict[int, float], width: int
) -> None:
    ms = between(known, width)
    if width <= max(known):
        assert min(known.values()) - 1e-9 <= ms <= max(known.values()) + 1e-9
    if width in known:
        assert ms == known[width]


@pytest.mark.parametrize("most", [1, 3, 16, 17, 64, 255, 1280])
def test_candidates_rise_to_the_dense_width(most: int) -> None:
    for found in (candidates(most, 16), unaligned(most, 16)):
        assert found == sorted(set(found))
        assert all(0 < width <= most for width in found)
    assert candidates(most, 16)[-1] == most
    assert all(width % 2 for width in unaligned(most, 16))


def test_the_quiet_end_ignores_other_load() -> None:
    assert quiet_ms([9.0, 1.0, 50.0, 3.0, 7.0, 8.0]) == 2.0
    assert quiet_ms([5.0]) == 5.0


def test_calls_take_turns() -> None:
    order: list[str] = []
    times = time_in_turn(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2, warmup=1
    )
    assert order == ["a", "b"] * 3
    assert set(times) == {"a", "b"} and min(times.values()) >= 0
