"""Resampled figures: those of the data set written out again, and intervals that cover."""

import time
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from prunus.evaluate.average_precision import average_precision
from prunus.evaluate.bootstrap import draw, interval, resample
from prunus.evaluate.match import IOU_THRESHOLDS, Matches

CLASSES = 3


def matches_of(seed: int, images: int = 12, per_image: int = 20, labels: int = 40) -> Matches:
    """Random detections, none equally confident; of each label at most one hits."""
    rng = np.random.default_rng(seed)
    count = images * per_image
    label_images = np.sort(rng.integers(0, images, labels))
    label_classes = rng.integers(0, CLASSES, labels)
    classes = rng.integers(0, CLASSES, count)
    at = np.repeat(np.arange(images), per_image)
    hits = np.zeros((count, len(IOU_THRESHOLDS)), dtype=np.bool_)
    for image, label_class in zip(label_images, label_classes, strict=True):
        free = np.flatnonzero((at == image) & (classes == label_class) & ~hits[:, 0])
        if len(free) and rng.random() < 0.8:
            hits[rng.choice(free), : rng.integers(1, len(IOU_THRESHOLDS) + 1)] = True
    scores = rng.permutation(np.linspace(0.01, 0.99, count)).astype(np.float32)
    return Matches(hits, scores, classes, at, label_classes, label_images)


def written_out(matches: Matches, counts: NDArray[np.int32]) -> NDArray[np.float64]:
    """Repeat each image as often as it counts and judge that: (classes, 10)."""
    times, label_times = counts[matches.images], counts[matches.label_images]
    found = average_precision(
        np.repeat(matches.hits, times, axis=0),
        np.repeat(matches.scores, times),
        np.repeat(matches.classes, times),
        np.repeat(matches.label_classes, label_times),
    )
    areas = np.full((CLASSES, len(IOU_THRESHOLDS)), np.nan)
    areas[found.classes] = found.average_precision
    return areas


@pytest.mark.parametrize("seed", range(4))
def test_each_resample_has_the_figures_of_the_data_set_written_out(seed: int) -> None:
    matches = matches_of(seed)
    counts = draw(12, 25, seed)
    found = resample(matches, counts)
    for row, of_images in enumerate(counts):
        expected = written_out(matches, of_images)
        np.testing.assert_allclose(found.ap50[row], expected[:, 0], atol=1e-12)
        np.testing.assert_allclose(found.ap50_95[row], expected.mean(axis=1), atol=1e-12)
        assert found.map50[row] == pytest.approx(np.nanmean(expected[:, 0]))
        assert found.map50_95[row] == pytest.approx(np.nanmean(expected))


def test_a_class_whose_images_are_not_drawn_does_not_count() -> None:
    hits = np.ones((2, len(IOU_THRESHOLDS)), dtype=np.bool_)
    hits[1] = False
    both, scores = np.array([0, 1]), np.array([0.9, 0.8], dtype=np.float32)
    matches = Matches(hits, scores, both, both, both, both)
    found = resample(matches, np.array([[1, 1], [2, 0], [0, 2]], dtype=np.int32))
    np.testing.assert_allclose(found.ap50, [[0.995, 0], [0.995, np.nan], [np.nan, 0]])
    np.testing.assert_allclose(found.map50, [0.995 / 2, 0.995, 0])


def test_value_by_hand() -> None:
    """A hit at .9 in image 0, a miss at .8 and a hit at .7 in image 1; image 0 counts twice.

    Found, written out: hit, hit, miss, hit of 3 labels. The envelope is 1 up to recall 2/3 (the
    points 0 to .66), then 3/4 up to and at .99, and 0 at 1.
    """
    hits = np.zeros((3, len(IOU_THRESHOLDS)), dtype=np.bool_)
    hits[[0, 2]] = True
    matches = Matches(
        hits,
        np.array([0.9, 0.8, 0.7], dtype=np.float32),
        np.zeros(3, dtype=np.int64),
        np.array([0, 1, 1]),
        np.zeros(2, dtype=np.int64),
        np.array([0, 1]),
    )
    found = resample(matches, np.array([[2, 1]], dtype=np.int32))
    assert found.map50[0] == pytest.approx((66.5 * 1 + 33 * 0.75) / 100)


def test_every_resample_draws_as_many_images_and_the_seed_decides() -> None:
    counts = draw(30, 50, seed=3)
    assert (counts.sum(axis=1) == 30).all()
    assert np.array_equal(counts, draw(30, 50, seed=3))
    assert not np.array_equal(counts, draw(30, 50, seed=4))


def test_large_data_sets_are_done_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    matches, counts = matches_of(0), draw(12, 25, 0)
    whole = resample(matches, counts)
    monkeypatch.setattr("prunus.evaluate.bootstrap.MOST_VALUES", 300)
    np.testing.assert_array_equal(resample(matches, counts).ap50_95, whole.ap50_95)


def test_an_interval_holds_95_per_cent() -> None:
    low, high = interval(np.append(np.arange(1001) / 1000, np.nan)) or (0.0, 0.0)
    assert (low, high) == pytest.approx((0.025, 0.975))
    assert interval(np.array([np.nan])) is None


def of_images(matches: Matches, chosen: NDArray[np.int64]) -> Matches:
    """Return the part of the data set that lies in the chosen images."""
    place = np.full(matches.images.max() + 1, -1)
    place[chosen] = np.arange(len(chosen))
    own, own_labels = place[matches.images] >= 0, place[matches.label_images] >= 0
    return Matches(
        matches.hits[own],
        matches.scores[own],
        matches.classes[own],
        place[matches.images[own]],
        matches.label_classes[own_labels],
        place[matches.label_images[own_labels]],
    )


def test_intervals_cover_the_figure_of_the_population() -> None:
    """Sixty samples of 100 images of one population: about 95 % of the intervals hold its mAP.

    As in a detector, hits are more confident than misses.
    """
    rng = np.random.default_rng(0)
    population = matches_of(99, images=2000, per_image=12, labels=8000)
    confident = rng.normal(population.hits[:, 0] * 2.0, 1).astype(np.float32)
    population = replace(population, scores=confident)
    true = np.nanmean(written_out(population, np.ones(2000, dtype=np.int32))[:, 0])
    covered = 0
    for number in range(60):
        sample = of_images(population, rng.choice(2000, 100, replace=False))
        low, high = interval(resample(sample, draw(100, 200, number)).map50) or (0.0, 0.0)
        covered += low <= true <= high
    assert covered >= 51, "85 % of 60"


def test_nothing_found_and_no_images_are_zeros() -> None:
    empty = np.empty(0, dtype=np.int64)
    nothing = Matches(
        np.empty((0, 10), dtype=np.bool_), np.empty(0, np.float32), empty, empty, empty, empty
    )
    assert resample(nothing, draw(0, 5, 0)).map50.tolist() == [0.0] * 5
    labelled = Matches(
        nothing.hits, nothing.scores, empty, empty, np.zeros(1, int), np.zeros(1, int)
    )
    assert resample(labelled, draw(1, 5, 0)).map50.tolist() == [0.0] * 5


def test_a_thousand_resamples_of_128_images_take_seconds() -> None:
    matches = matches_of(0, images=128, per_image=250, labels=900)
    start = time.process_time()
    resample(matches, draw(128, 1000, 0))
    assert time.process_time() - start < 10
