"""Average precision: by hand, and properties of any list of hits."""

import numpy as np
import pytest
from numpy.typing import NDArray

from prunus.evaluate.average_precision import AveragePrecision, average_precision


def figures(
    hits: list[int], scores: list[float], labels: int, classes: list[int] | None = None
) -> AveragePrecision:
    """Figures of detections that hit at all ten thresholds or at none, of one class by default."""
    columns = np.repeat(np.array(hits, dtype=bool)[:, None], 10, axis=1).reshape(-1, 10)
    return average_precision(
        columns,
        np.array(scores, dtype=np.float32),
        np.array(classes or [0] * len(hits), dtype=np.int64),
        np.zeros(labels, dtype=np.int64),
    )


def random_case(
    seed: int,
) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, 900)
    scores = random.permutation(np.linspace(0.01, 0.99, 200)).astype(np.float32)  # all different
    hits = np.sort(random.random((200, 10)) < 0.4 * scores[:, None] + 0.1, axis=1)[:, ::-1]
    return hits, scores, random.integers(0, 5, 200), labels


def test_perfect_detections_reach_what_the_definition_can_reach() -> None:
    # The envelope is 1 up to recall 1, where the sentinel 0 stands: the last of 100 trapezoids
    # falls from 1 to 0. So the best AP is .995, as in YOLOv5.
    found = figures([1, 1, 1], [0.9, 0.8, 0.7], labels=3)
    assert found.map50 == pytest.approx(0.995)
    assert found.map50_95 == pytest.approx(0.995)
    assert found.mean_precision == pytest.approx(1.0)
    assert found.mean_recall == pytest.approx(1.0)


def test_a_case_worked_out_on_paper() -> None:
    # Hit, miss, hit; 4 labels. Recall .25 .25 .5, precision 1 .5 .667; the envelope is 1 up to .25,
    # .667 from there to .5 (the step fills the grid cell before .25), then a line down to (1, 0).
    found = figures([1, 0, 1], [0.9, 0.8, 0.7], labels=4)
    step = (1 + 2 / 3) / 2 * 0.01
    expected = 0.24 + step + 0.25 * 2 / 3 + 0.5 * 2 / 3 / 2
    assert found.map50 == pytest.approx(expected, abs=1e-9)


def test_precision_and_recall_are_read_at_one_confidence_for_all_classes() -> None:
    # Class 0: 1 label, hit at .9, ten misses at .2. Class 1: 1 label, hit at .2. Up to .2 the mean
    # F1 is (1/6 + 1) / 2 = .58; above it class 1 has nothing and the mean is .5 at most. So both
    # classes are read below .2, though class 0 alone would be read at .9.
    found = average_precision(
        np.repeat(np.array([1] + [0] * 10 + [1], dtype=bool)[:, None], 10, axis=1),
        np.array([0.9] + [0.2] * 11, dtype=np.float32),
        np.array([0] * 11 + [1]),
        np.array([0, 1]),
    )
    assert found.confidence < 0.2
    assert found.precision == pytest.approx([1 / 11, 1])
    assert found.recall == pytest.approx([1, 1])


def test_between_detections_precision_and_recall_are_interpolated() -> None:
    # 1 label, a hit at .9 and a miss at .1. Recall is 1 below .9 and 0 above; precision falls in a
    # line from 1 at .9 to .5 at .1. The smoothed F1 is highest where its window (.1 wide) ends at
    # .9: at .85, where precision is 1 - .5 x .05 / .8.
    found = figures([1, 0], [0.9, 0.1], labels=1)
    assert found.confidence == pytest.approx(0.85, abs=0.002)
    assert found.mean_precision == pytest.approx(1 - 0.5 * 0.05 / 0.8, abs=0.002)
    assert found.mean_recall == pytest.approx(1.0)


def test_a_class_without_a_detection_that_confident_has_precision_one_and_recall_zero() -> None:
    # Class 0: a hit at .9, misses at .2. Class 1: a hit at .05, under twenty misses. Both are read
    # near .85, where class 1 has said nothing yet.
    found = average_precision(
        np.repeat(np.array([1] + [0] * 30 + [1], dtype=bool)[:, None], 10, axis=1),
        np.array([0.9] + [0.2] * 10 + [0.1] * 20 + [0.05], dtype=np.float32),
        np.array([0] * 11 + [1] * 21),
        np.array([0, 1]),
    )
    assert found.confidence > 0.5
    assert found.precision[1] == 1
    assert found.recall[1] == 0


def test_the_smoothing_prefers_a_broad_good_region_to_a_narrow_better_one() -> None:
    # 4 labels. Between .52 and .50 the F1 is 6/7 (P 1, R .75); between .50 and .05 it is 6/8 ... a
    # spike .02 wide drowns in a filter .1 wide; recall stays .75, precision is .6 on the plateau.
    hits, scores = [1, 1, 1, 0, 0], [0.54, 0.53, 0.52, 0.50, 0.50]
    found = figures(hits, scores, labels=4)
    assert found.confidence < 0.5
    assert found.mean_precision == pytest.approx(3 / 5)
    assert found.mean_recall == pytest.approx(3 / 4)


def test_classes_without_labels_do_not_count() -> None:
    alone = figures([1, 0], [0.9, 0.8], labels=2)
    with_strangers = figures([1, 0, 0, 0], [0.9, 0.8, 0.95, 0.7], 2, classes=[0, 0, 3, 3])
    assert with_strangers.classes.tolist() == [0]
    assert with_strangers.map50 == alone.map50


def test_a_class_that_is_never_found_counts_as_zero() -> None:
    hits = np.ones((1, 10), dtype=bool)
    found = average_precision(
        hits, np.array([0.9], dtype=np.float32), np.array([1]), np.array([1, 7])
    )
    assert found.classes.tolist() == [1, 7]
    assert found.label_counts.tolist() == [1, 1]
    assert found.average_precision[1].tolist() == [0.0] * 10
    assert found.map50 == pytest.approx(0.995 / 2)


@pytest.mark.parametrize(("detections", "labels"), [(0, 0), (0, 3), (3, 0)])
def test_empty_cases_give_zeros(detections: int, labels: int) -> None:
    found = figures([0] * detections, [0.5] * detections, labels)
    means = (found.mean_precision, found.mean_recall, found.map50, found.map50_95)
    assert means == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_detections_does_not_matter(seed: int) -> None:
    hits, scores, classes, labels = random_case(seed)
    order = np.random.default_rng(seed + 50).permutation(len(scores))
    a = average_precision(hits, scores, classes, labels)
    b = average_precision(hits[order], scores[order], classes[order], labels[::-1])
    np.testing.assert_array_equal(a.average_precision, b.average_precision)
    np.testing.assert_array_equal(a.precision, b.precision)


@pytest.mark.parametrize("seed", range(3))
def test_a_miss_below_all_others_never_helps(seed: int) -> None:
    hits, scores, classes, labels = random_case(seed)
    before = average_precision(hits, scores, classes, labels)
    after = average_precision(
        np.concatenate((hits, np.zeros((1, 10), dtype=bool))),
        np.append(scores, np.float32(0)),
        np.append(classes, 0),
        labels,
    )
    assert (after.average_precision <= before.average_precision).all()
    np.testing.assert_array_equal(after.average_precision[1:], before.average_precision[1:])


@pytest.mark.parametrize("seed", range(3))
def test_stays_between_zero_and_one(seed: int) -> None:
    found = average_precision(*random_case(seed))
    for values in (found.average_precision, found.precision, found.recall):
        assert ((values >= 0) & (values <= 1)).all()
