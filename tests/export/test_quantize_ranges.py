"""Ranges by hand, what holds for any values, and what ONNX Runtime's own calibrators say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import HistogramCollector

from prunus.export.quantize.histogram import BINS, Histogram
from prunus.export.quantize.ranges import LEVELS, METHODS, percentile, rounded, scale_and_zero

every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())


def histogram_of(*arrays: NDArray[np.float32]) -> Histogram:
    histogram = Histogram()
    for array in arrays:
        histogram.add(np.asarray(array, dtype=np.float32))
    return histogram


def activations(seed: int = 0, count: int = 40_000) -> NDArray[np.float32]:
    """Like a SiLU's output: many near zero, a long tail above, next to nothing below."""
    values = np.random.default_rng(seed).normal(0, 2, count)
    return (values / (1 + np.exp(-values))).astype(np.float32)


def test_bins_double_as_larger_values_come_and_keep_what_they_counted() -> None:
    histogram = histogram_of([1.0, -0.4], [3.0], [-9.0])
    assert (histogram.low, histogram.high, histogram.reach) == (-9.0, 3.0, 16.0)
    filled = np.flatnonzero(histogram.counts)
    assert histogram.counts.sum() == 4
    wide = 32 / BINS
    np.testing.assert_allclose(histogram.centres[filled], [-9, -0.4, 1, 3], atol=1.01 * wide)


def test_one_pass_over_parts_counts_what_one_pass_over_all_does() -> None:
    values = np.round(activations(count=6000) * 64) / 64  # exact in float32
    parts = histogram_of(*np.split(np.sort(values), 6))
    whole = histogram_of(values)
    np.testing.assert_array_equal(parts.counts, whole.counts)
    assert (parts.low, parts.high) == (whole.low, whole.high)


def test_scale_and_zero_by_hand() -> None:
    assert scale_and_zero((-1.0, 1.55)) == (pytest.approx(0.01), 100)
    assert scale_and_zero((0.0, 1.0)) == (pytest.approx(1 / 255), 0)
    assert scale_and_zero((2.0, 5.1)) == (pytest.approx(0.02), 0), "stretched to hold 0"
    assert scale_and_zero((-5.1, -2.0)) == (pytest.approx(0.02), 255)
    assert scale_and_zero((0.0, 0.0)) == (1.0, 0)


def test_rounding_clips_and_rounds_to_the_steps() -> None:
    found = rounded(np.array([-2.0, 0.0, 0.004, 0.006, 1.0, 7.0]), (-1.0, 1.55))
    np.testing.assert_allclose(found, [-1.0, 0.0, 0.0, 0.01, 1.0, 1.55], atol=1e-6)


def test_percentile_leaves_half_of_the_rest_out_at_either_end() -> None:
    low, high = percentile(histogram_of(np.linspace(-1, 1, 10_001)), share=90)
    assert (low, high) == (pytest.approx(-0.9, abs=1e-3), pytest.approx(0.9, abs=1e-3))


def test_minmax_is_the_outermost_values() -> None:
    assert METHODS["minmax"](histogram_of([-1.5, 0.25, 4.0])) == (-1.5, 4.0)
    assert METHODS["minmax"](histogram_of([0.5, 4.0])) == (0.0, 4.0)


@pytest.mark.parametrize("method", ["mse", "percentile", "entropy"])
def test_a_long_tail_is_clipped(method: str) -> None:
    values = np.random.default_rng(0).laplace(0, 1, 60_000) ** 3
    low, high = METHODS[method](histogram_of(values))
    assert 0.02 * values.max() < high < 0.99 * values.max()
    assert 0.99 * values.min() < low < 0.02 * values.min()


def test_mse_errs_less_than_every_other_method() -> None:
    values = activations(seed=3).astype(np.float64)
    histogram = histogram_of(values)
    errors = {
        name: float(np.square(rounded(values, method(histogram)) - values).mean())
        for name, method in METHODS.items()
    }
    assert min(errors, key=lambda name: errors[name]) == "mse"
    assert errors["mse"] < errors["minmax"]


@every_method
@pytest.mark.parametrize("values", [[], [0.0], [0.0, 0.0], [3.0], [-2.0, -2.0], [1e-30, 2e-30]])
def test_odd_tensors_get_a_range_too(method: object, values: list[float]) -> None:
    low, high = method(histogram_of(np.array(values)))  # type: ignore[operator]
    assert low <= 0 <= high
    scale, zero = scale_and_zero((low, high))
    assert scale > 0
    assert 0 <= zero < LEVELS


@every_method
@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50),
)
def test_a_range_lies_within_the_values_and_holds_zero(method: object, values: list[float]) -> None:
    histogram = histogram_of(np.array(values))
    low, high = method(histogram)  # type: ignore[operator]
    assert min(histogram.low, 0) <= low <= 0 <= high <= max(histogram.high, 0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1000, 1000, width=32), min_size=2, max_size=50))
def test_within_the_range_nothing_moves_by_more_than_half_a_step(values: list[float]) -> None:
    array = np.array(values)
    limits = METHODS["minmax"](histogram_of(array))
    scale, _ = scale_and_zero(limits)
    # The zero is rounded too, so an end may be clipped by half a step.
    moved = np.abs(rounded(array, limits) - array).max()
    assert moved <= scale * (1 + 1e-4)


def onnxruntime_range(
    method: str, values: NDArray[np.float32], share: float = 0
) -> tuple[float, float]:
    collector = HistogramCollector(
        method=method, symmetric=False, num_bins=2048, num_quantized_bins=128, percentile=share,
        scenario="same",
    )  # fmt: skip
    collector.collect({"tensor": [values]})
    found = collector.compute_collection_result()["tensor"]
    return float(found[0]), float(found[1])


@pytest.mark.parametrize("share", [99.0, 99.9, 99.99])
def test_percentile_agrees_with_onnxruntimes(share: float) -> None:
    values = activations(seed=1)
    expected = onnxruntime_range("percentile", values, share)
    assert percentile(histogram_of(values), share) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_entropy_clips_about_what_onnxruntimes_does(seed: int) -> None:
    values = np.random.default_rng(seed).laplace(0, 1, 60_000).astype(np.float32)
    found = METHODS["entropy"](histogram_of(values))
    for end, other in zip(found, onnxruntime_range("entropy", values), strict=True):
        assert 1 <= end / other < 1.6, "it has half of the steps, so it clips a little more"


def test_a_large_map_is_sampled_from_all_its_columns() -> None:
    histogram = Histogram()
    columns = np.where(np.arange(1024) % 4 == 0, 1, 3).astype(np.float32)
    histogram.add(np.tile(columns, (256, 1)))  # four times as many values as are counted
    share = histogram.counts[histogram.centres > 2].sum() / histogram.counts.sum()
    assert share == pytest.approx(0.75, abs=0.01)
