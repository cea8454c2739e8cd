"""Two runs on the same images: 0 with itself, sure of what is sure, refused on other images."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from prunus.core.errors import ConfigError
from prunus.core.records import Detections
from prunus.evaluate.compare import OtherRun, check_same, compare, read_run
from prunus.evaluate.predictions import from_json, save_predictions, to_json
from prunus.evaluate.truth import Labels, fingerprint

IMAGES = [Path(f"{number}.jpg") for number in range(40)]


def truth_of(seed: int) -> list[Labels]:
    rng = np.random.default_rng(seed)
    corners = rng.random((len(IMAGES), 3, 2)) * 100
    boxes = np.concatenate((corners, corners + 30), axis=2).astype(np.float32)
    return [Labels(one, np.array([0, 1, 0])) for one in boxes]


def found_in(truth: list[Labels], shift: float, seed: int = 0) -> list[Detections]:
    """Every label, moved by up to `shift` pixels."""
    rng = np.random.default_rng(seed)
    return [
        Detections(
            labels.boxes_xyxy + rng.normal(0, shift, (3, 4)).astype(np.float32),
            np.sort(rng.random(3).astype(np.float32))[::-1].copy(),
            labels.classes,
        )
        for labels in truth
    ]


def run_of(folder: Path, detections: list[Detections], truth: list[Labels]) -> OtherRun:
    save_predictions(folder / "predictions.json", detections, IMAGES)
    report = {
        "data": {"sha256": fingerprint(IMAGES, truth, ("a", "b"))},
        "settings": {"confidence": 0.001, "iou": 0.6, "max_detections": 300},
    }
    (folder / "report.json").write_text(json.dumps(report))
    return read_run(folder)


def test_a_run_compared_with_itself_differs_by_nothing(tmp_path: Path) -> None:
    truth = truth_of(0)
    found = found_in(truth, 3.3)
    other = run_of(tmp_path, found, truth)
    for one in compare(found, other, truth, IMAGES, resamples=50, seed=0):
        assert (one.value, one.low, one.high) == (0.0, 0.0, 0.0)
        assert not one.is_real
        assert "cannot be told from noise" in one.sentence()


def test_a_clear_difference_is_more_than_noise_and_has_a_sign(tmp_path: Path) -> None:
    truth = truth_of(0)
    good, poor = found_in(truth, 0.5), found_in(truth, 6)
    found = compare(good, run_of(tmp_path, poor, truth), truth, IMAGES, resamples=200, seed=0)
    assert [one.metric for one in found] == ["mAP50", "mAP50-95"]
    assert found[1].low > 0.1
    assert found[1].low < found[1].value < found[1].high
    assert found[1].sentence().endswith("more than noise on these images.")
    back = compare(poor, run_of(tmp_path, good, truth), truth, IMAGES, resamples=200, seed=0)
    assert back[1].value == pytest.approx(-found[1].value)
    assert (back[1].low, back[1].high) == pytest.approx((-found[1].high, -found[1].low))


def test_differences_of_equals_are_seldom_taken_for_real(tmp_path: Path) -> None:
    truth = truth_of(0)
    real = 0
    for seed in range(20):
        other = run_of(tmp_path, found_in(truth, 4, seed=100 + seed), truth)
        found = found_in(truth, 4, seed=seed)
        real += compare(found, other, truth, IMAGES, resamples=200, seed=seed)[1].is_real
    assert real <= 4


def test_other_images_labels_or_classes_are_refused(tmp_path: Path) -> None:
    truth = truth_of(0)
    other = run_of(tmp_path, found_in(truth, 1), truth)
    check_same(other, fingerprint(IMAGES, truth, ("a", "b")))
    renamed = [Path("x.jpg"), *IMAGES[1:]]
    relabelled = [Labels(labels.boxes_xyxy, 1 - labels.classes) for labels in truth]
    for sha256 in (
        fingerprint(IMAGES, relabelled, ("a", "b")),
        fingerprint(renamed, truth, ("a", "b")),
        fingerprint(IMAGES, truth_of(1), ("a", "b")),
        fingerprint(IMAGES, truth, ("a", "c")),
    ):
        with pytest.raises(ConfigError, match="judged on other images, labels or classes"):
            check_same(other, sha256)


def test_a_data_set_may_be_moved() -> None:
    truth, moved = truth_of(0), [Path("elsewhere") / image for image in IMAGES]
    assert fingerprint(IMAGES, truth, ("a",)) == fingerprint(moved, truth, ("a",))


def test_names_that_are_not_utf8_have_a_fingerprint() -> None:
    truth = truth_of(0)[:1]
    names = (b"caf\xe9.jpg", b"caf\xe8.jpg")
    one, other = (fingerprint([Path(os.fsdecode(name))], truth, ("a",)) for name in names)
    assert one != other


def test_a_run_of_times_is_refused(tmp_path: Path) -> None:
    save_predictions(tmp_path / "predictions.json", [], [])
    report = {"data": {"sha256": "x"}, "settings": {"task": "speed"}}
    (tmp_path / "report.json").write_text(json.dumps(report))
    with pytest.raises(ConfigError, match="was run with --task speed"):
        read_run(tmp_path)


def test_predictions_that_are_no_text_are_one_line(tmp_path: Path) -> None:
    truth = truth_of(0)
    found = found_in(truth, 1)
    other = run_of(tmp_path, found, truth)
    (tmp_path / "predictions.json").write_bytes(b"\xff\x00")
    with pytest.raises(ConfigError, match=r"predictions\.json: cannot be read: .*utf-8"):
        compare(found, other, truth, IMAGES, resamples=5, seed=0)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no run of prunus val .* report\.json is missing"):
        read_run(tmp_path / "nowhere")
    (tmp_path / "report.json").write_text('{"verb": "train", "data": {}}')
    with pytest.raises(ConfigError, match="no run of prunus val"):
        read_run(tmp_path)
    (tmp_path / "report.json").write_text('{"data": {"sha256": "x"}, "settings": {}}')
    with pytest.raises(ConfigError, match=r"has no predictions\.json"):
        read_run(tmp_path)


def test_another_strictness_is_named(tmp_path: Path) -> None:
    other = run_of(tmp_path, found_in(truth_of(0), 1), truth_of(0))
    same = {"confidence": 0.001, "iou": 0.6, "max_detections": 300}
    assert other.other_strictness(same) == []
    assert other.other_strictness({**same, "iou": 0.7}) == ["iou 0.7 against 0.6"]


def test_predictions_come_back_as_written() -> None:
    found = found_in(truth_of(0), 2)
    text = to_json(found, IMAGES)
    back = from_json(text, IMAGES, "x.json")
    assert to_json(from_json(text, IMAGES, "x.json"), IMAGES).count("\n") == text.count("\n")
    for one, other in zip(found, back, strict=True):
        np.testing.assert_allclose(other.boxes_xyxy, one.boxes_xyxy, atol=2e-3)
        np.testing.assert_allclose(other.scores, one.scores, atol=1e-5)
        assert other.classes.tolist() == one.classes.tolist()


@pytest.mark.parametrize(
    "text",
    [f'[{{"image_id": 0, "bbox": [0, 0, 1, 1], "score": 1{"0" * 400}, "category_id": 0}}]',
     "{", "[1]", '[{"image_id": 99, "bbox": [0, 0, 1, 1]}]', '[{"image_id": 0}]'],
)  # fmt: skip
def test_a_damaged_results_file_is_one_clear_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"x\.json: no results file of these images"):
        from_json(text, IMAGES, "x.json")


def test_what_is_not_finite_is_not_written() -> None:
    broken = Detections(
        np.full((1, 4), np.nan, np.float32), np.ones(1, np.float32), np.zeros(1, int)
    )
    with pytest.raises(ValueError, match="image 0: a detection is not finite"):
        to_json([broken], [Path("cat.jpg")])
