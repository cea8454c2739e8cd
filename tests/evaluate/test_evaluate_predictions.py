"""The COCO results file: its content, its ids, and that COCO's tools read it."""

import json
from pathlib import Path

import numpy as np
import pytest

from prunus.core.errors import PrunusError
from prunus.core.records import Detections
from prunus.evaluate.predictions import image_ids, save_predictions


def detections(*rows: tuple[float, ...]) -> Detections:
    values = np.array(rows, dtype=np.float32).reshape(-1, 6)
    return Detections(values[:, :4], values[:, 4], values[:, 5].astype(np.int64))


FOUND = [detections((1, 2, 11.1234, 22, 0.8765432, 1), (0, 0, 5, 5, 0.5, 0)), detections()]
IMAGES = [Path("images/000000000139.jpg"), Path("images/000000000285.jpg")]


def test_holds_one_entry_a_detection(tmp_path: Path) -> None:
    save_predictions(tmp_path / "predictions.json", FOUND, IMAGES)
    assert json.loads((tmp_path / "predictions.json").read_text()) == [
        {"image_id": 139, "category_id": 1, "bbox": [1.0, 2.0, 10.123, 20.0], "score": 0.87654},
        {"image_id": 139, "category_id": 0, "bbox": [0.0, 0.0, 5.0, 5.0], "score": 0.5},
    ]


def test_no_detections_are_an_empty_list(tmp_path: Path) -> None:
    save_predictions(tmp_path / "predictions.json", [detections()], IMAGES[:1])
    assert json.loads((tmp_path / "predictions.json").read_text()) == []


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["000139.jpg", "7.png"], [139, 7]),
        (["000139.jpg", "cat.png"], [0, 1]),
        (["a/7.jpg", "b/7.jpg"], [0, 1]),
        (["²3.jpg"], [0]),
        ([], []),
    ],
)
def test_image_ids_are_the_file_names_only_where_all_are_different_numbers(
    names: list[str], ids: list[int]
) -> None:
    assert image_ids([Path(name) for name in names]) == ids


def test_hotcoco_reads_it_back(tmp_path: Path) -> None:
    hotcoco = pytest.importorskip("hotcoco")
    save_predictions(tmp_path / "predictions.json", FOUND, IMAGES)
    truth = hotcoco.COCO(
        {
            "images": [{"id": 139, "height": 50, "width": 50}],
            "annotations": [],
            "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
        }
    )
    assert len(truth.load_res(str(tmp_path / "predictions.json")).anns) == 2


def test_a_file_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PrunusError, match=r"predictions\.json: not written"):
        save_predictions(tmp_path / "file" / "predictions.json", FOUND, IMAGES)
