"""Which objects were lost: by hand, on two images."""

import json
from pathlib import Path

import numpy as np
import pytest

from prunus.core.records import Detections
from prunus.evaluate.match import match_detections
from prunus.evaluate.truth import Labels
from prunus.report.blocks import MissingError
from prunus.report.pictures import boxes_of
from prunus.report.regressions import findings, worst
from prunus.report.sources import Source, open_source


def sides(run: Path) -> tuple[Source, Source]:
    return open_source(run / "06-val-longer"), open_source(run / "07-val-result")


def test_lost_and_false_by_hand(run: Path) -> None:
    regressions, total = worst(*sides(run), 10)
    assert total == 2
    assert [one.path.name for one in regressions] == ["b.png", "a.png"]  # 1 lost each; b: 1 false
    assert [one.badness for one in regressions] == [(1, 1, 1), (1, 1, 0)]
    assert regressions[1].before.found.tolist() == [True, True]
    assert regressions[1].after.found.tolist() == [True, False]


def test_boxes_by_hand(run: Path) -> None:
    first = worst(*sides(run), 1)[0][0]
    before = boxes_of(first, first.before, first.after, (0.5, 2.0))
    after = boxes_of(first, first.after, first.before, (0.5, 2.0))
    assert [(box.look, box.tag) for box in before] == [("hit", ""), ("gained", "plum")]
    assert [(box.look, box.tag) for box in after] == [("false", "leaf 0.60"), ("lost", "plum")]
    lost = after[1]
    assert (lost.left, lost.top, lost.right, lost.bottom) == (8, 32, 24, 96)


def test_a_label_is_found_once() -> None:
    """Two detections on one label: one hit, and the label that it hit is found."""
    labels = Labels(
        np.array([[0, 0, 10, 10], [30, 30, 40, 40]], np.float32), np.array([0, 0], np.int64)
    )
    boxes = np.array([[0, 0, 10, 9], [0, 0, 10, 10], [0, 0, 1, 1]], np.float32)
    seen = Detections(boxes, np.array([0.5, 0.9, 0.1], np.float32), np.zeros(3, np.int64))
    result = findings(seen, labels)
    assert result.detections.scores.tolist() == pytest.approx([0.9, 0.5])
    assert result.hits.tolist() == [True, False]
    assert result.found.tolist() == [True, False]


def test_as_many_labels_are_found_as_detections_hit() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        corners = rng.uniform(0, 60, (12, 2)).astype(np.float32)
        boxes = np.concatenate([corners, corners + rng.uniform(10, 40, (12, 2))], 1)
        boxes = boxes.astype(np.float32)
        classes = rng.integers(0, 2, 12)
        labels = Labels(boxes[:6] + np.float32(1), classes[:6])
        seen = Detections(boxes, rng.uniform(0.3, 1, 12).astype(np.float32), classes)
        result = findings(seen, labels)
        order = np.argsort(-seen.scores, kind="stable")
        hits = match_detections(boxes[order], classes[order], labels.boxes_xyxy, labels.classes)
        assert result.found.sum() == hits[:, 0].sum() == result.hits.sum()


def test_other_labels_are_not_compared(run: Path) -> None:
    before, after = sides(run)
    after.report["data"]["sha256"] = "0" * 64
    with pytest.raises(MissingError, match="have changed since 07-val-result was judged"):
        worst(before, after, 10)


def test_what_is_missing_is_named(run: Path, data: Path) -> None:
    before, after = sides(run)
    (run / "06-val-longer" / "predictions.json").write_text(json.dumps([{"image_id": 77}]))
    with pytest.raises(MissingError, match="no results file of these images"):
        worst(before, after, 10)
    (run / "06-val-longer" / "predictions.json").unlink()
    with pytest.raises(MissingError, match=r"06-val-longer has no predictions\.json"):
        worst(before, after, 10)
    data.unlink()
    with pytest.raises(MissingError, match="is not here"):
        worst(before, after, 10)
