"""The two real data sets: counts, known faults, and the reference's batch shapes."""

from pathlib import Path

import numpy as np
import pytest

from prunus.data.index import build_index
from prunus.data.loader import validation_batches
from prunus.data.spec import read_data

pytestmark = pytest.mark.parity


@pytest.mark.parametrize(
    ("file", "split", "images", "boxes", "problems"),
    [
        ("coco256.yaml", "train", 128, 929, 0),
        ("coco256.yaml", "val", 128, 898, 0),
        ("bccd.yaml", "train", 205, 2804, 1),
        ("bccd.yaml", "val", 87, 1137, 1),
        ("bccd.yaml", "test", 72, 945, 0),
    ],
)
def test_counts(
    assets: Path, file: str, split: str, images: int, boxes: int, problems: int
) -> None:
    index = build_index(read_data(assets / "data" / file), split)
    assert (len(index), len(index.boxes), len(index.problems)) == (images, boxes, problems)


def test_the_two_boxes_without_area_in_bccd_are_found_and_only_they_go(assets: Path) -> None:
    spec = read_data(assets / "data" / "bccd.yaml")
    found = [str(problem) for split in spec.splits for problem in build_index(spec, split).problems]
    words = "width 0 and height 0 leave no area: box dropped"
    assert found == [
        f"Annotations/BloodImage_00343.xml:50: object 4: {words}",
        f"Annotations/BloodImage_00338.xml:158: object 13: {words}",
    ]
    index = build_index(spec, "val")
    broken = next(n for n, path in enumerate(index.paths) if path.stem == "BloodImage_00338")
    assert len(index.boxes_of(broken)) >= 12


def test_rectangles_of_the_coco_images(assets: Path) -> None:
    index = build_index(read_data(assets / "data" / "coco256.yaml"), "val")
    batches = validation_batches(index, 640, 32, 32)
    shapes = []
    for batch in batches:
        shapes.append(tuple(batch.images.shape))
        for frame in batch.frames:
            height, width = frame.size_hw
            scale_y, scale_x = frame.scale_yx
            whole = np.array([[0, 0, width * scale_x, height * scale_y]], np.float32)
            pad = np.array([*frame.pad_yx[::-1]] * 2, np.float32)
            np.testing.assert_allclose(frame.to_image(whole + pad), [[0, 0, width, height]], 1e-6)
    assert shapes == [(32, 3, *shape) for shape in ((448, 672), (512, 672), (672, 672), (672, 672))]
