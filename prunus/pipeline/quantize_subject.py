"""What `quantize` works on: a calibrated detector, its float twin, and three sets of images.

No image is in two of them: training images to calibrate on, other training images to judge the
search for layers by, and the validation split for the figures at the end.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch

from prunus.core.console import log
from prunus.core.records import Runner
from prunus.data.index import ImageIndex, build_index
from prunus.data.loader import validation_batches
from prunus.data.spec import read_data
from prunus.evaluate.evaluation import Evaluation
from prunus.evaluate.val import evaluate
from prunus.export.backends import BACKENDS, Backend
from prunus.export.backends import onnx as onnx_backend
from prunus.export.facts import Facts, Origin, facts_of
from prunus.export.form import Form
from prunus.export.quantize.config import QuantizeConfig
from prunus.export.quantize.quantizers import Calibrated, find_quantizer
from prunus.export.quantize.training_images import CalibrationImages, split_positions
from prunus.model.detector import Detector
from prunus.pipeline.models import rounded_size
from prunus.weights.files import load_weights

TOGETHER = 16
"""Images that are decoded and judged in one batch."""


@dataclass(frozen=True)
class Subject:
    """A detector on its way to 8 bits, with the images of all three sets.

    Attributes:
        backend: Of the format.
        calibrated: What writes it.
        calibration: Training images that were calibrated on.
        judging: Other training images.
        validation: The validation split.
        facts: Of the float file.
        float_file: What INT8 is compared with.
        form: What the files take.
        workers: Processes that decode images ahead.
    """

    backend: Backend
    calibrated: Calibrated
    calibration: ImageIndex
    judging: ImageIndex
    validation: ImageIndex
    facts: Facts
    float_file: Path
    form: Form
    workers: int

    def draft(self, floating: Collection[str]) -> Path:
        """Write a file with these layers in float, over the last one."""
        path = self.float_file.with_stem("draft")
        self.calibrated.save(path, self.facts, floating)
        return path

    def judge(self, path: Path, index: ImageIndex) -> Evaluation:
        runner = self.open(path)
        batches = validation_batches(
            index,
            self.form.size_hw[0],
            TOGETHER,
            runner.stride,
            rectangular=runner.size_hw is None,
            workers=self.workers,
        )
        return evaluate(runner, batches, index, coco=False)

    def open(self, path: Path, threads: int | None = None) -> Runner:
        return self.backend.open(path, device="cpu", precision="fp32", threads=threads)

    def images(self) -> dict[str, int]:
        return {
            "calibration": len(self.calibration),
            "judging": len(self.judging),
            "validation": len(self.validation),
        }


def prepare(
    settings: QuantizeConfig, weights: Path, drafts: Path, float_file: Path | None = None
) -> Subject:
    """Let the quantizer see the calibration images.

    Args:
        settings: What is wanted.
        weights: What is quantized.
        drafts: A folder for files that nobody keeps.
        float_file: What INT8 is compared with; written here where there is none yet.
    """
    checkpoint, data = load_weights(weights), read_data(settings.data)
    detector = checkpoint.detector
    side = rounded_size(settings.image_size, detector.stride)
    form = Form((side, side), settings.batch_size, settings.dynamic, settings.opset)
    origin = Origin(checkpoint.sha256, checkpoint.licence)
    graph = drafts / "graph.onnx"
    onnx_backend.write(detector, graph, form, origin)
    train, validation = build_index(data, "train"), build_index(data, "val")
    first, second = split_positions(len(train), settings.calibration_images, settings.judge_images)
    calibration = train.subset(first)
    images = _calibration_images(calibration, detector, form, settings.workers)
    log.info("calibrating on %d training images", len(calibration))
    calibrate = find_quantizer(settings.format)
    calibrated = calibrate(onnx.load_model(graph), images, settings.method)
    backend, facts = BACKENDS[settings.format], facts_of(detector, form, origin)
    if float_file is None:
        float_file = drafts / f"float{backend.suffix}"
        calibrated.save_float(float_file, facts)
    return Subject(
        backend,
        calibrated,
        calibration,
        train.subset(second),
        validation,
        facts,
        float_file,
        form,
        settings.workers,
    )


def _calibration_images(
    index: ImageIndex, detector: Detector, form: Form, workers: int
) -> CalibrationImages:
    batches = validation_batches(
        index, form.size_hw[0], TOGETHER, detector.stride, rectangular=False, workers=workers
    )
    return CalibrationImages(torch.cat([batch.images for batch in batches]), form.batch)
