"""The official yolov5n with coco256: what it is calibrated on, and how it is judged.

Judged as published figures are: fp32, batches of 32.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from prunus.core.device import keep_freed_pages
from prunus.model.detector import Detector
from prunus.pipeline.images import DetectorImages
from prunus.prune.evidence import Calibration
from prunus.weights.files import load_weights

CALIBRATION_IMAGES, CALIBRATION_BATCH = 128, 16
JUDGING_BATCH = 32


@dataclass(frozen=True)
class Official:
    """The detector, and its images in batches of two sizes."""

    detector: Detector
    training: DetectorImages
    judging: DetectorImages

    def calibration(self) -> Calibration:
        """Return images of the training split."""
        calibration = self.training.calibration(CALIBRATION_IMAGES)
        assert calibration is not None
        return calibration

    def map50_95(self, detector: Detector) -> float:
        """Return a detector's accuracy on the validation split."""
        return self.judging.judge(detector).map50_95


def official(assets: Path, side: int) -> Official:
    """Read the weights and the data set's index; images are `side` pixels long."""
    keep_freed_pages()
    detector = load_weights(assets / "weights" / "yolov5n.pt").detector.eval()

    def images(batch_size: int) -> DetectorImages:
        return DetectorImages(
            assets / "data" / "coco256.yaml",
            detector,
            side=side,
            batch_size=batch_size,
            workers=0,
            device=torch.device("cpu"),
            precision="fp32",
        )

    return Official(detector, images(CALIBRATION_BATCH), images(JUDGING_BATCH))
