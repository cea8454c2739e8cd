"""The whole evaluation on tiny data sets, with runners that say what they are told."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from prunus.core.errors import DataError
from prunus.core.records import Batch, Frame, Size
from prunus.data.index import ImageIndex
from prunus.evaluate import clock, val
from prunus.evaluate.val import evaluate

NAMES = ("cat", "dog", "owl")
SIZE = (100, 200)
BATCH_SIZE = (128, 256)
SCALE, PAD_Y, PAD_X = 1.2, 4.0, 8.0
Row = tuple[float, ...]
"""A label: class, left, top, right, bottom in image pixels. A detection: the same and a score."""


def frame(number: int) -> Frame:
    return Frame(Path(f"{number}.jpg"), SIZE, (SCALE, SCALE), (PAD_Y, PAD_X))


def index_of(*images: list[Row], names: tuple[str, ...] = NAMES) -> ImageIndex:
    height, width = SIZE
    rows = [
        [
            class_,
            (x0 + x1) / 2 / width,
            (y0 + y1) / 2 / height,
            (x1 - x0) / width,
            (y1 - y0) / height,
        ]
        for image in images
        for class_, x0, y0, x1, y1 in image
    ]
    return ImageIndex(
        names=names,
        paths=tuple(frame(number).path for number in range(len(images))),
        sizes_hw=np.full((len(images), 2), SIZE, dtype=np.int32),
        boxes=np.array(rows, dtype=np.float32).reshape(-1, 5),
        offsets=np.cumsum([0, *map(len, images)]).astype(np.int64),
    )


def batches_of(order: list[int], batch_size: int = 2) -> list[Batch]:
    """Batches whose first pixel tells the runner which image it sees."""
    return [
        Batch(
            torch.tensor(part, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, *BATCH_SIZE),
            torch.zeros(0, 6),
            tuple(frame(number) for number in part),
        )
        for part in (order[at : at + batch_size] for at in range(0, len(order), batch_size))
    ]


@dataclass
class Oracle:
    """A runner that finds in image k what `images[k]` lists."""

    images: list[list[Row]]
    names: tuple[str, ...] = NAMES
    stride: int = 32
    size_hw: Size | None = None
    batch: int | None = None
    batch_sizes: list[int] = field(default_factory=list)

    def __call__(self, images: Tensor) -> Tensor:
        self.batch_sizes.append(len(images))
        most = max(map(len, self.images), default=0)
        output = torch.zeros(len(images), most + 1, 5 + len(self.names))
        for place, number in enumerate(images[:, 0, 0, 0].tolist()):
            for row, (class_, left, top, right, bottom, score) in enumerate(self.images[number]):
                box = np.array([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
                box = box * SCALE + [PAD_X, PAD_Y, 0, 0]
                output[place, row, :4] = torch.from_numpy(box)
                output[place, row, 4] = 1
                output[place, row, 5 + int(class_)] = score
        return output


A, B, C = (0, 10, 10, 50, 50), (1, 60, 20, 180, 80), (0, 100, 5, 150, 95)
LABELS: list[list[Row]] = [[A, B], [], [C], [B]]
FOUND: list[list[Row]] = [
    [(*A, 0.9), (*B, 0.8), (2, 0, 0, 30, 30, 0.7)],
    [(0, 5, 5, 60, 60, 0.65)],
    [(*C, 0.55)],
    [(1, 60, 20, 180, 70, 0.95)],  # IoU 5 / 6
]


def run(**settings: Any) -> val.Evaluation:
    return evaluate(Oracle(FOUND), batches_of([0, 1, 2, 3]), index_of(*LABELS), **settings)


def test_perfect_detections_reach_the_best_figures() -> None:
    found = [[(*row, 0.9) for row in image] for image in LABELS]
    result = evaluate(Oracle(found), batches_of([0, 1, 2, 3]), index_of(*LABELS))
    assert result.map50 == pytest.approx(0.995)
    assert result.map50_95 == pytest.approx(0.995)
    assert result.precision == pytest.approx(1.0)
    assert result.recall == pytest.approx(1.0)
    assert result.coco is not None
    known = [value for value in result.coco.as_dict().values() if value is not None]
    assert known == pytest.approx([1.0] * len(known))


def test_figures_of_each_class_as_counted_by_hand() -> None:
    cat, dog = run().per_class
    assert (cat.name, cat.images, cat.labels) == ("cat", 2, 2)
    assert (dog.name, dog.images, dog.labels) == ("dog", 2, 2)
    # Cat: hit .9, miss .65, hit .55: envelope 1 up to recall .5, then .667 up to the end.
    assert cat.map50 == pytest.approx(0.49 + 0.01 * (1 + 2 / 3) / 2 + 0.49 * 2 / 3 + 0.01 / 3)
    # Dog: two hits up to IoU .80 (seven thresholds); above, a miss at .95 and a hit at .8, which
    # is precision .5 up to recall .5 and a line to (1, 0).
    assert dog.map50 == pytest.approx(0.995)
    above = 0.5 * 0.5 + 0.5 * 0.5 / 2
    assert dog.map50_95 == pytest.approx((7 * 0.995 + 3 * above) / 10)
    assert run().map50 == pytest.approx((cat.map50 + dog.map50) / 2)


def test_detections_lie_in_pixels_of_the_image_in_the_order_of_the_index() -> None:
    result = run()
    assert [len(found) for found in result.detections] == [3, 1, 1, 1]
    np.testing.assert_allclose(result.detections[0].boxes_xyxy[0], A[1:], atol=1e-3)
    assert result.detections[0].classes.tolist() == [0, 1, 2]
    np.testing.assert_allclose(result.detections[0].scores, [0.9, 0.8, 0.7])


def test_detections_are_clipped_to_the_image() -> None:
    found = [[(0, -20, -20, 500, 500, 0.9)]]
    (detections,) = evaluate(Oracle(found), batches_of([0]), index_of([A])).detections
    assert detections.boxes_xyxy.tolist() == [[0, 0, 200, 100]]


@pytest.mark.parametrize("order", [[3, 1, 0, 2], [2, 3, 1, 0]])
@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_order_and_size_of_the_batches_do_not_matter(order: list[int], batch_size: int) -> None:
    shuffled = evaluate(Oracle(FOUND), batches_of(order, batch_size), index_of(*LABELS)).metrics()
    expected = run().metrics()
    del shuffled["speed_ms"], expected["speed_ms"]
    assert shuffled == expected


def test_order_of_the_images_in_the_data_set_does_not_matter() -> None:
    order = [2, 0, 3, 1]
    result = evaluate(
        Oracle([FOUND[number] for number in order]),
        batches_of([0, 1, 2, 3]),
        index_of(*(LABELS[number] for number in order)),
    )
    assert result.per_class == run().per_class
    assert result.coco == run().coco


def test_a_runner_of_one_batch_size_gets_full_batches() -> None:
    oracle = Oracle(FOUND, batch=3)
    result = evaluate(oracle, batches_of([0, 1, 2, 3], 4), index_of(*LABELS))
    assert oracle.batch_sizes == [3, 3]
    assert result.per_class == run().per_class


def test_single_class_judges_the_boxes_only() -> None:
    found: list[list[Row]] = [[(2, *A[1:], 0.9), (1, *B[1:], 0.8), (3, *A[1:], 0.7)]]
    oracle = Oracle(found, names=("one", "two", "three", "four"))
    result = evaluate(oracle, batches_of([0]), index_of([A, B]), single_class=True)
    assert [(row.name, row.labels) for row in result.per_class] == [("object", 2)]
    assert result.map50 == pytest.approx(0.995)
    assert result.detections[0].classes.tolist() == [0, 0]


def test_with_one_class_the_score_is_objectness_times_class() -> None:
    oracle = Oracle([[(*A, 0.4)]], names=("cat",))
    result = evaluate(oracle, batches_of([0]), index_of([A], names=("cat",)))
    np.testing.assert_allclose(result.detections[0].scores, [0.4])
    assert result.map50 == pytest.approx(0.995)


def test_confidence_and_number_of_detections_are_limits() -> None:
    assert run(confidence=0.75).metrics()["detections"] == 3
    assert run(max_detections=1).metrics()["detections"] == 4


@pytest.mark.parametrize(
    ("found", "labels"),
    [
        ([[], []], LABELS[:2]),
        (FOUND[:2], [[], []]),
        ([[], []], [[], []]),
    ],
    ids=["no detections", "no labels", "neither"],
)
def test_empty_cases_are_zeros_never_nan(found: list[list[Row]], labels: list[list[Row]]) -> None:
    metrics = evaluate(Oracle(found), batches_of([0, 1]), index_of(*labels)).metrics()
    assert [metrics[key] for key in ("precision", "recall", "map50", "map50_95")] == [0.0] * 4
    json.dumps(metrics, allow_nan=False)


def test_an_empty_data_set_is_zeros() -> None:
    metrics = evaluate(Oracle([]), [], index_of()).metrics()
    assert metrics["map50"] == 0.0
    assert metrics["images"] == 0


def test_metrics_are_plain_values_for_a_report() -> None:
    metrics = run().metrics()
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert metrics["labels"] == 4
    assert metrics["detections"] == 6
    assert metrics["per_class"][0]["name"] == "cat"
    assert set(metrics["speed_ms"]) == {"preprocess", "inference", "nms", "matching", "coco"}
    assert len(metrics["coco"]) == 12
    assert run(coco=False).metrics()["coco"] is None


def test_no_clock_can_change_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run()
    monkeypatch.setattr(clock, "perf_counter", slow_clock())
    slow = run()
    assert slow.per_class == expected.per_class
    assert slow.timings_ms["nms"] > 1e6


def slow_clock() -> Callable[[], float]:
    """A clock on which every glance is an hour after the last."""

    def hours() -> Iterator[float]:
        now = 0.0
        while True:
            now += 3600.0
            yield now

    ticking = hours()
    return lambda: next(ticking)


def test_timings_are_finite_and_per_image() -> None:
    timings = run().timings_ms
    assert all(math.isfinite(value) and value >= 0 for value in timings.values())


def test_another_number_of_classes_is_refused_with_both_named() -> None:
    oracle = Oracle(FOUND, names=("person", "car", "bus", "tram"))
    with pytest.raises(
        DataError, match=r"model has 4 classes \(person, car, bus, \.\.\.\), data set has 3 \(cat"
    ):
        evaluate(oracle, batches_of([0]), index_of([]))


def test_images_that_never_come_are_a_bug_not_a_zero() -> None:
    with pytest.raises(ValueError, match="held 2 of the index's 4 images"):
        evaluate(Oracle(FOUND), batches_of([0, 1]), index_of(*LABELS))


def test_images_that_come_twice_or_from_elsewhere_are_a_bug() -> None:
    with pytest.raises(ValueError, match=r"0\.jpg: in the batches more often than in the index"):
        evaluate(Oracle(FOUND), batches_of([0, 0]), index_of(*LABELS))
    with pytest.raises(ValueError, match=r"3\.jpg: in the batches more often"):
        evaluate(Oracle(FOUND), batches_of([0, 3]), index_of(*LABELS[:2]))


@pytest.mark.parametrize("single_class", [False, True])
def test_other_names_of_the_classes_are_said_once(
    single_class: bool, caplog: pytest.LogCaptureFixture
) -> None:
    index = index_of([(0, 10, 10, 50, 50)])
    runner = Oracle([[]], names=("cat", "owl", "dog"))
    evaluate(runner, batches_of([0]), index, single_class=single_class)
    assert caplog.text.count("class 1 is 'owl' to the model and 'dog' in the data set; 2 of 3") == (
        not single_class
    )
    caplog.clear()
    evaluate(Oracle([[]]), batches_of([0]), index)
    assert caplog.text == ""
