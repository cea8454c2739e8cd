"""The same detections by COCO's own rules: the twelve figures of its leaderboard.

Computed by hotcoco, which is equal to pycocotools to the last bit and 57 times as fast
(`dependencies.md`). The ground truth is what a YOLO label holds: area = area of the box, no crowds.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunus.core.records import Detections, Size
from prunus.evaluate.truth import Labels


@dataclass(frozen=True)
class CocoMetrics:
    """COCO's twelve, in [0, 1]; None where there is no ground truth of that size.

    AP: mean over IoU .50:.95. AP50, AP75: at that IoU. s, m, l: boxes under 32^2, under 96^2, and
    larger, in pixels. AR1, AR10, AR100: recall with so many detections an image.
    """

    AP: float | None
    AP50: float | None
    AP75: float | None
    APs: float | None
    APm: float | None
    APl: float | None
    AR1: float | None
    AR10: float | None
    AR100: float | None
    ARs: float | None
    ARm: float | None
    ARl: float | None

    def as_dict(self) -> dict[str, float | None]:
        return asdict(self)


def coco_metrics(
    detections: Sequence[Detections],
    labels: Sequence[Labels],
    sizes_hw: Sequence[Size],
    names: Sequence[str],
) -> CocoMetrics:
    """Return COCO's twelve for a data set: one entry an image in the first three arguments."""
    import hotcoco

    with contextlib.redirect_stdout(io.StringIO()):
        truth = hotcoco.COCO(_ground_truth(labels, sizes_hw, names))
        found = truth.load_res(_results(detections))
        evaluation = hotcoco.COCOeval(truth, found, "bbox")
        evaluation.run()
        figures = evaluation.get_results()
    return CocoMetrics(
        **{name: None if value < 0 else float(value) for name, value in figures.items()}
    )


def _ground_truth(
    labels: Sequence[Labels], sizes_hw: Sequence[Size], names: Sequence[str]
) -> dict[str, Any]:
    """Return a COCO data set; ids count from 1, since some readers take 0 for "none"."""
    boxes = np.concatenate([np.empty((0, 4)), *(label.boxes_xyxy for label in labels)])
    boxes[:, 2:] -= boxes[:, :2]  # left, top, width, height
    classes = np.concatenate([np.empty(0, dtype=np.int64), *(label.classes for label in labels)])
    image_ids = np.repeat(np.arange(1, len(labels) + 1), [len(label.classes) for label in labels])
    annotations = [
        {
            "id": number,
            "image_id": image_id,
            "category_id": class_ + 1,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        for number, (image_id, class_, box) in enumerate(
            zip(image_ids.tolist(), classes.tolist(), boxes.tolist(), strict=True), start=1
        )
    ]
    return {
        "images": [
            {"id": number, "height": int(height), "width": int(width)}
            for number, (height, width) in enumerate(sizes_hw, start=1)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
    }


def _results(detections: Sequence[Detections]) -> NDArray[np.float64]:
    """Return (N, 7) rows: image id, left, top, width, height, score, category id."""
    rows = [np.empty((0, 7))]
    for number, found in enumerate(detections, start=1):
        boxes = found.boxes_xyxy.astype(np.float64)
        rows.append(
            np.column_stack(
                (
                    np.full(len(found), number),
                    boxes[:, :2],
                    boxes[:, 2:] - boxes[:, :2],
                    found.scores,
                    found.classes + 1,
                )
            )
        )
    return np.concatenate(rows)
